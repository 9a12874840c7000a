"""The report as one page, and the tables of the front page."""
