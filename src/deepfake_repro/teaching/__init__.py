"""Lessons, their figures and networks, checks of the exercises, run times, the book."""
