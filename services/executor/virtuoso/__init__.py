"""Virtuoso: what a finished execution means."""
