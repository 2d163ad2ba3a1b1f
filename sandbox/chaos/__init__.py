"""Breaking a platform on purpose, then asking whether all promises were kept. For tests and `cadenza chaos`."""
