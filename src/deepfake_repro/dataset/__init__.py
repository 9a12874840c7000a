"""Index of all videos, Tables 1 and 2 beside the paper's, leakage, the balanced training sample (Section 4.1)."""
