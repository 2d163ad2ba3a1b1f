"""Profile and score of a table: reading, detection of types, figures per column, scores. DuckDB does the arithmetic."""
