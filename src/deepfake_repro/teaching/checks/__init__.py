"""Checks of the exercises, which :mod:`..exercises` calls by the exercise's number."""
