"""The paper's method: a face foundation model fine-tuned with triplet losses (Section 3.3)."""
