"""What `cadenza doctor` looks at: one file per kind of thing. Nothing here changes anything that it finds."""
