"""The only users of aiohttp in this service; no exception of it passes them."""
