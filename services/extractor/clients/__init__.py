"""The systems outside: Virtuoso."""
