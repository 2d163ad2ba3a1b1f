"""The systems outside that steps reach: our proxy to Virtuoso, and 7PS. The only users of httpx in this service."""
