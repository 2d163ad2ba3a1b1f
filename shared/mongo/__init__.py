"""MongoDB: the client, faithful documents, indexes, group commit and the outbox."""
