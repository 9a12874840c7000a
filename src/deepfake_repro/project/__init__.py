"""Parameters, paths, vocabulary, provenance, progress, file writing and notebook execution."""
