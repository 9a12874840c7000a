"""The embedded benchmark: synthetic people -> planned clips -> manipulations -> miniature corpora.

Every miniature is laid out like the official download, quirks included, so the adapters of
``corpora`` read it without knowing. Its figures say nothing about the paper's.
"""
