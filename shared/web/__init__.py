"""The HTTP edge of every service: application, authentication, problems, health, server."""
