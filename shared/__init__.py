"""What any service may import. Nothing in here imports a service."""
