"""One file for each corpus: its official download -> ``Video`` rows and a report of what was found."""
