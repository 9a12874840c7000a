"""Rows that are not the papers's, shown beside them."""
