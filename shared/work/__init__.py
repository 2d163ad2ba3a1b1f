"""The queue in MongoDB that executor, extractor and scanner share: ingest, claim under a lease, renew, recover, end."""
