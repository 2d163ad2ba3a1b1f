"""What stands behind the ports of `commands/reach.py`."""
