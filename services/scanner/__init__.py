"""Looks at AWS estates, scope by scope, and keeps what it finds where it can be searched."""
