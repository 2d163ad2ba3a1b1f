"""Virtuoso behind a small API: named commands, sessions that know where the next step goes, and a pass-through."""
