"""The paper's own method: a face foundation model fine-tuned with triplet losses (Sections 3.3 and 4.3)."""
