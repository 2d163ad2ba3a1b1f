"""Pulls every finished Virtuoso execution of every customer into the lake, exactly once per version."""
