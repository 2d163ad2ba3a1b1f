"""Which addresses scripts may open, and which hosts anything in the browser may reach (`guard.py` asks)."""

from fnmatch import fnmatchcase
from urllib.parse import urlsplit

HARMLESS = ("about", "data")
"""Schemes of pages that come from nowhere."""


def scheme_admitted(url: str, schemes: tuple[str, ...]) -> bool:
    """May a script open such addresses? `schemes` are those that the settings name."""
    return url.partition(":")[0].lower() in (*HARMLESS, *schemes)


def admitted(host: str, patterns: tuple[str, ...]) -> bool:
    """May this host be reached? No patterns: every host."""
    return not patterns or any(fnmatchcase(host.lower(), pattern.lower()) for pattern in patterns)


def allowed(url: str, patterns: tuple[str, ...]) -> bool:
    """May this address be opened? Addresses without a host (`data:`, `about:`) may."""
    host = urlsplit(url).hostname
    return not host or admitted(host, patterns)
