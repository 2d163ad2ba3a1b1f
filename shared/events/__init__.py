"""The wire contract: every message on every topic, as a Pydantic model. Knows nothing but pydantic."""
