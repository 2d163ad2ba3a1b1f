"""Command types, one file each: `base.py` is the contract, `registry.py` the explicit list."""
