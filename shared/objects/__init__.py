"""Artifact and lake storage behind one port: local folder, S3, GridFS."""
