"""The command catalogue: one declarative entry per command, one file per group, all listed in `registry.py`."""
