"""methods/finetune."""
