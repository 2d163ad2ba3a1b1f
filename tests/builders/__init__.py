"""Valid values by default; a test overrides by keyword what it is about."""
