"""What a plan may say: the model that callers write, its references and its rules. Knows nothing but pydantic."""
