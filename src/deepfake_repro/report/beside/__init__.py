"""Rows that are not the paper's, shown beside them."""
