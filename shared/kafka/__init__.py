"""Kafka: topics, publishing, reading, dead letters. Nothing outside this folder imports aiokafka."""
