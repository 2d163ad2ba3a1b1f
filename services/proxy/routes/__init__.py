"""The HTTP side: each route parses, calls one use case, and shows what came of it."""
