"""Lessons with their figures and networks, checks of the exercises, run times, and the book."""
