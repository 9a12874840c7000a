"""Crops -> scores -> how sure: predictions, metrics, bootstrap, thresholds, robustness (Sections 4.3 and 5)."""
