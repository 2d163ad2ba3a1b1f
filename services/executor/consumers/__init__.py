"""Edges to Kafka: each file parses one topic and calls one use case."""
