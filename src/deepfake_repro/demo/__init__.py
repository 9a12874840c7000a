"""The embedded benchmark: synthetic people -> planned clips -> manipulations -> miniature corpora.

Every miniature has the layout of the official download, quirks included, so the adapters of
``corpora`` read it like the original. Numbers measured on it say nothing about the paper's.
"""
