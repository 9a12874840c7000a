"""Colours, curves and dots of the rows of Table 3."""
