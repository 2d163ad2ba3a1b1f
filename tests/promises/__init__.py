"""The ten promises, each proven by breaking something: real services, a real broker, a real database."""
