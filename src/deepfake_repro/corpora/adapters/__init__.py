"""One module per corpus: its official download -> ``Video`` rows and an index report."""
