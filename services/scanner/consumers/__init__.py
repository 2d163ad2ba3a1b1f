"""What comes in from Kafka: parse, then one use case."""
