"""What stands behind the ports of `commands/reach.py`: the only users of drivers for things outside."""
