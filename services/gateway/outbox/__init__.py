"""From the database to Kafka: at once, by relay, and once more when an execution never came of it."""
