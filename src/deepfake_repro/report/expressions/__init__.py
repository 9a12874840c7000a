"""The language of claims, and its evaluation on numbers that are known up to an interval."""
