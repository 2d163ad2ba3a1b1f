"""Cadenza beside the systems that people compare it with: the same runs, on the same cores, in the same session."""
