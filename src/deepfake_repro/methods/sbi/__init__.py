"""methods/sbi."""
