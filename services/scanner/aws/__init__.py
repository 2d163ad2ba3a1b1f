"""One scanner per AWS service, and the ways into an account. The only users of boto3 in this service."""
