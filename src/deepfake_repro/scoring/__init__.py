"""One's own videos: scores, what they are worth, a page for each, export of the model."""
