"""Evaluation: predictions, metrics, intervals, thresholds and robustness (Sections 4.3 and 5)."""
