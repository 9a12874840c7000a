"""Four methods of one shape: each folder holds its maths, ``recipe`` (how it trains) and ``run`` (from params.yaml)."""
