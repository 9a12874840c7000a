"""Video -> frames -> faces -> crop store, any number of processes, no work lost (Section 4.1)."""
