"""The HTTP side: what the scanner can do. Scans are asked for at the gateway."""
