"""The gateway: HTTP in, durable requests out, live views back."""
