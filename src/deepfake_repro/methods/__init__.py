"""The four methods, one shape each: networks and losses, ``recipe.py``, ``run.py``."""
