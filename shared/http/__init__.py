"""Calls to other systems: one client factory, one translation of errors."""
