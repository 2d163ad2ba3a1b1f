"""What a service tells of itself: logs and traces."""
