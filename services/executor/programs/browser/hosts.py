"""Which hosts the browser may reach.

The list is kept by the browser's own resolver: everything that a page loads asks it, whatever the page does, also
workers, WebSockets and addresses written as numbers.
"""

from fnmatch import fnmatchcase
from urllib.parse import urlsplit


def allowed(url: str, patterns: tuple[str, ...]) -> bool:
    """May this address be opened? Addresses without a host (`data:`, `about:`) may."""
    host = urlsplit(url).hostname
    return not patterns or not host or any(fnmatchcase(host, pattern) for pattern in patterns)


def arguments(patterns: tuple[str, ...]) -> list[str]:
    """For the browser's command line."""
    if not patterns:
        return []
    rules = ", ".join(["MAP * ~NOTFOUND", *(f"EXCLUDE {pattern}" for pattern in patterns)])
    return [f"--host-resolver-rules={rules}"]
