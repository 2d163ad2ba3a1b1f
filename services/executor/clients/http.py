"""HTTP requests of steps: to addresses that may be reached only, with bounded answers, in the words of reason codes.

Every address is looked at when its connection is opened, so neither a name that means another address a moment later
nor a redirect leads where a step may not go. Each exchange has a client of its own: runs share neither connections
nor cookies. What the caller said to one server goes to no other: a redirect to another origin takes plain headers only.
"""

import asyncio
import socket
import ssl
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import aiohttp
import httpx
import yarl

from services.executor.addresses import AddressPolicy
from services.executor.commands.reach import HttpAnswer, HttpFailed, HttpRequest
from shared.http.client import build_guarded_session

MAX_REDIRECTS = 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PLAIN_HEADERS = frozenset({"accept", "accept-language", "user-agent"})


class AddressRefused(OSError):
    """No step may connect to this address."""


@dataclass(frozen=True, slots=True)
class Tried:
    """Addresses of one exchange that were to be connected to."""

    opened: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


class GuardedHttpCaller:
    """Implements `HttpCaller`."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy

    async def call(self, request: HttpRequest) -> HttpAnswer:
        tried = Tried()
        verify = await asyncio.to_thread(_tls, verify=request.verify_tls)
        with _translated(tried, request.timeout):
            session = build_guarded_session(
                verify=verify, open_socket=lambda info: self._open(info, tried)
            )
            begun = time.monotonic()
            async with asyncio.timeout(request.timeout), session:
                hop = Hop.first(request)
                for _ in range(MAX_REDIRECTS + 1):
                    tried.opened.clear()
                    async with hop.send(session) as response:
                        following = hop.after(response) if request.follow_redirects else None
                        if following is None:
                            body = await _body(response, request.max_bytes)
                            return _answer(response, body, time.monotonic() - begun)
                    hop = following
        raise HttpFailed("too_many_redirects", f"more than {MAX_REDIRECTS} redirects")

    def _open(self, info: Any, tried: Tried) -> socket.socket:
        """A socket for one address of `getaddrinfo`."""
        family, kind, protocol, _, address = info
        if not self._policy.admits(address[0]):
            tried.refused.append(address[0])
            raise AddressRefused(f"{address[0]} may not be reached")
        tried.opened.append(address[0])
        return socket.socket(family=family, type=kind, proto=protocol)


@dataclass(frozen=True, slots=True)
class Hop:
    """One request of a chain of redirects. The address is sent as it was written, but for what no address may hold."""

    method: str
    url: httpx.URL
    headers: Mapping[str, str]
    body: bytes | None

    @classmethod
    def first(cls, request: HttpRequest) -> "Hop":
        return cls(request.method, httpx.URL(request.url), request.headers, request.body)

    def send(self, session: aiohttp.ClientSession) -> Any:
        return session.request(
            self.method,
            yarl.URL(str(self.url), encoded=True),
            headers=self.headers,
            data=self.body,
            allow_redirects=False,
        )

    def after(self, response: aiohttp.ClientResponse) -> "Hop | None":
        """Where a redirect leads; None when the answer is none. Only 307 and 308 keep method and body."""
        if response.status not in _REDIRECTS or "location" not in response.headers:
            return None
        url = self.url.join(response.headers["location"])
        method, body = self.method, self.body
        if response.status not in (307, 308) and method != "HEAD":
            method, body = "GET", None
        headers = dict(self.headers)
        if body is None:
            headers = {name: headers[name] for name in headers if name.lower() != "content-type"}
        if (url.scheme, url.host, url.port) != (self.url.scheme, self.url.host, self.url.port):
            if body:
                raise HttpFailed("upstream_error", "a redirect wants the body to go elsewhere")
            headers = {name: headers[name] for name in headers if name.lower() in _PLAIN_HEADERS}
        return Hop(method, url, headers, body)


def _answer(response: aiohttp.ClientResponse, body: bytes, seconds: float) -> HttpAnswer:
    headers: dict[str, str] = {}
    for name, value in response.headers.items():
        plain = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        before = headers.get(name.lower())
        headers[name.lower()] = plain if before is None else f"{before}, {plain}"
    return HttpAnswer(
        status=response.status,
        headers=headers,
        body=body,
        url=str(response.url),
        latency_ms=seconds * 1000,
    )


async def _body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, decoded; a small one that unpacks into a huge one is caught while it is unpacked."""
    kind = response.headers.get("content-encoding", "").strip().lower()
    unpack = _unpacker(kind)
    pieces, size = [], 0
    async for raw in response.content.iter_any():
        piece = raw if unpack is None else _unpacked(unpack, raw, limit - size + 1)
        size += len(piece)
        if size > limit:
            raise HttpFailed("response_too_large", f"the answer is larger than {limit} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _unpacker(kind: str) -> Any:
    if kind in ("gzip", "x-gzip", "deflate"):
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # zlib or gzip, by its header
    return None


def _unpacked(unpack: Any, raw: bytes, limit: int) -> bytes:
    try:
        piece: bytes = unpack.decompress(raw, limit)
    except zlib.error as error:
        raise HttpFailed("upstream_error", f"the answer cannot be unpacked: {error}") from None
    return piece


@cache
def _tls(*, verify: bool) -> ssl.SSLContext:
    """Made once: it reads a few hundred certificates."""
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@contextmanager
def _translated(tried: Tried, timeout: float) -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:
        if tried.refused and not tried.opened:
            raise HttpFailed("address_refused", _refusal(tried.refused[0])) from error
        raise HttpFailed(*_failure(error, timeout)) from error
    except (httpx.InvalidURL, ValueError) as error:
        raise HttpFailed("invalid_arguments", f"the request cannot be sent: {error}") from error


def _refusal(address: str) -> str:
    return (
        f"the address {address} is this machine's, a private or a reserved one; the executor's setting "
        "EXECUTOR__HTTP_ALLOWED_NETWORKS says which of them steps may reach"
    )


def _failure(error: BaseException, timeout: float) -> tuple[str, str]:
    """Reason and sentence. The order counts: some of these are kinds of others."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            end = "dns_failed", "the host name has no address"
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError() | ssl.SSLError():
            end = "tls_failed", f"no TLS connection: {error}"
        case aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
            end = "connection_refused", "nobody listens at this address and port"
        case TimeoutError():
            end = "upstream_timeout", f"no whole answer within {timeout:g} s"
        case aiohttp.ClientConnectorError():
            end = "connection_failed", f"no connection: {error.os_error}"
        case aiohttp.InvalidURL():
            end = "invalid_arguments", f"the address is not usable: {error}"
        case _:
            what = str(error) or type(error).__name__
            end = "upstream_error", f"the answer broke off or was no HTTP: {what}"
    return end
