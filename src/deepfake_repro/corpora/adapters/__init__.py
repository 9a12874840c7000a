"""corpora/adapters."""
