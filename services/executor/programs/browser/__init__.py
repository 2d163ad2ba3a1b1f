"""Drives a real browser: scripts of steps, and the elements of a site. `requests.py` says what is asked of it.

Only what `__main__.py` imports knows Playwright; the command types read `asking`, `requests`, `steps`, `profiles`.
"""
