"""Index of all videos, Tables 1 and 2, leakage, and the balanced training sample (Section 4.1)."""
