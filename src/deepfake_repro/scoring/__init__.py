"""Score your own videos: scores with their error rates, a page per video, export of a model."""
