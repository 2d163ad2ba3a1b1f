"""Every `httpx.AsyncClient` is built here, once per upstream and process, on the aiohttp transport.

httpx's own transport costs 2.6 ms of CPU a request with 20 in flight, aiohttp's under the same API 0.44 ms. Connections
are limited and kept; redirects are not followed (an API that redirects to a login page has not answered).
"""

import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

CONNECT_TIMEOUT = 5.0
USER_AGENT = "cadenza"


def build_client(
    *,
    base_url: str = "",
    timeout: float = 30.0,
    connect_timeout: float = CONNECT_TIMEOUT,
    max_connections: int = 100,
    max_keepalive: int = 50,
    keepalive_seconds: float = 30.0,
    headers: Mapping[str, str] | None = None,
    verify: bool = True,
    proxy: str | None = None,
) -> httpx.AsyncClient:
    """A client without a connection yet; whoever builds it closes it. Times in seconds; `timeout` is for each read and
    for a free connection, so a call that must end by a certain time has its own `asyncio.timeout`.
    """
    transport = AiohttpTransport(
        verify=verify,
        trust_env=False,
        limits=httpx.Limits(
            max_connections=max_connections,
            max_keepalive_connections=max_keepalive,
            keepalive_expiry=keepalive_seconds,
        ),
        proxy=httpx.Proxy(proxy) if proxy else None,
    )
    return httpx.AsyncClient(
        base_url=base_url,
        transport=transport,
        timeout=httpx.Timeout(timeout, connect=connect_timeout),
        headers={"user-agent": USER_AGENT, **(headers or {})},
        follow_redirects=False,
        trust_env=False,
    )


def build_guarded_session(
    *, verify: ssl.SSLContext, open_socket: Callable[[Any], socket.socket]
) -> aiohttp.ClientSession:
    """For addresses that somebody else chose, and for one exchange only: `open_socket` gets every address that is
    about to be connected to (as `getaddrinfo` gives them) and raises OSError for one that may not be. No connection and
    no cookie is kept for another exchange. Not through httpx: its transport writes URLs anew (`%2F` becomes `/`).
    """
    connector = aiohttp.TCPConnector(
        ssl=verify, force_close=True, use_dns_cache=False, socket_factory=open_socket
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None),
        headers={"user-agent": USER_AGENT, "accept-encoding": "gzip, deflate"},
    )
