"""The browser's one way out: a SOCKS proxy inside its program, which decides about every connection as it is made.

Whatever opens it (pages, redirects, workers, WebSockets, downloads), the name is resolved here and exactly the address
that was looked at is connected to, so a name that changes its meaning a moment later leads nowhere else.
"""

import asyncio
import contextlib
import os
import socket
import struct
from ipaddress import ip_network
from urllib.parse import urlsplit

from services.executor.addresses import AddressPolicy
from services.executor.programs.browser import hosts
from services.executor.programs.browser.requests import BrowserRequest
from shared.tasks import end_tasks

CONNECT_SECONDS = 20
PIECE = 64 * 1024
REMEMBERED = 1_000
"""Refusals, by host and port; pages may try as many as they like."""
PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}

OK, NOT_ALLOWED, UNREACHABLE, UNKNOWN_COMMAND = 0, 2, 4, 7
CONNECT, NO_LOGIN = 1, 0
V4, NAME, V6 = 1, 3, 4


class Refused(Exception):
    """No connection: a kind, which is a stable word, and a sentence."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind
        self.sentence = sentence


class Guard:
    """Use as a context manager around the browser."""

    def __init__(self, where: BrowserRequest) -> None:
        self._hosts = where.allowed_hosts
        self._policy = AddressPolicy(ip_network(text) for text in where.allowed_networks)
        self.latest: Refused | None = None
        self._refused: dict[tuple[str, int], Refused] = {}
        self._open: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server
        self.port = 0

    async def __aenter__(self) -> "Guard":
        self._server = await asyncio.start_server(self._came, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await end_tasks(*self._open)

    @property
    def arguments(self) -> list[str]:
        """For the browser's command line. It resolves no name itself and sends nothing past the proxy, not even to this
        machine (which it would by default) nor by UDP, which knows no proxy.
        """
        return [
            f"--proxy-server=socks5://127.0.0.1:{self.port}",
            "--proxy-bypass-list=<-loopback>",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
            "--webrtc-ip-handling-policy=disable_non_proxied_udp",
            "--disable-quic",
        ]

    def why(self, url: str) -> Refused | None:
        """Why there was no connection to where this address points."""
        with contextlib.suppress(ValueError):
            parts = urlsplit(url)
            port = parts.port or PORTS.get(parts.scheme, 0)
            return self._refused.get(((parts.hostname or "").lower(), port))
        return None

    def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._attend(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await _asked(reader, writer)
        if asked is None:
            return _answer(writer, UNKNOWN_COMMAND)
        host, port = asked
        try:
            there, back = await self._connect(host, port)
        except Refused as refused:
            self._remember(host, port, refused)
            return _answer(writer, UNREACHABLE if refused.kind == "unreachable" else NOT_ALLOWED)
        self._refused.pop((host, port), None)
        _answer(writer, OK)
        await _join((reader, writer), (there, back))
        return None

    def _remember(self, host: str, port: int, refused: Refused) -> None:
        if len(self._refused) >= REMEMBERED:
            self._refused.clear()
        self._refused[host, port] = self.latest = refused.with_traceback(None)

    async def _connect(
        self, host: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """To the first of the host's addresses that answers and may be reached. Raises Refused."""
        if not hosts.admitted(host, self._hosts):
            raise Refused("host_refused", f"this executor's browsers may not open {host}")
        addresses = await _resolved(host, port)
        open_ones = [address for address in addresses if self._policy.admits(address)]
        if not open_ones:
            raise Refused("address_refused", _refusal(host, addresses[0]))
        problem: OSError | None = None
        for address in open_ones:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await asyncio.open_connection(address, port)
            except OSError as error:
                problem = error
        raise Refused("unreachable", f"no connection to {host}:{port}: {_said(problem)}")


async def _resolved(host: str, port: int) -> list[str]:
    """The host's addresses, the system's choice first. Raises Refused."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Refused("unreachable", f"the host name {host} has no address") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def _asked(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[str, int] | None:
    """Where to (RFC 1928); None for anything but a connection."""
    _, methods = await reader.readexactly(2)
    await reader.readexactly(methods)
    writer.write(bytes((5, NO_LOGIN)))
    _, command, _, kind = await reader.readexactly(4)
    if kind == NAME:
        host = (await reader.readexactly((await reader.readexactly(1))[0])).decode(
            "ascii", "replace"
        )
    elif kind in (V4, V6):
        family, size = (socket.AF_INET, 4) if kind == V4 else (socket.AF_INET6, 16)
        host = socket.inet_ntop(family, await reader.readexactly(size))
    else:
        return None
    (port,) = struct.unpack("!H", await reader.readexactly(2))
    return (host.strip("[]").lower(), port) if command == CONNECT else None


def _answer(writer: asyncio.StreamWriter, code: int) -> None:
    writer.write(bytes((5, code, 0, V4, 0, 0, 0, 0, 0, 0)))


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _join(browser: Streams, server: Streams) -> None:
    """Both ways, until the browser hangs up."""
    back = asyncio.ensure_future(_copy(server[0], browser[1]))
    try:
        await _copy(browser[0], server[1])
    finally:
        await end_tasks(back)
        server[1].close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An end stays an end, and what broke off breaks off."""
    try:
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()


def _refusal(host: str, address: str) -> str:
    what = host if host == address else f"{host} ({address})"
    return (
        f"{what} is this machine's, a private or a reserved address; the executor's setting"
        " EXECUTOR__HTTP_ALLOWED_NETWORKS says which of them steps may reach"
    )


def _said(error: OSError | None) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_SECONDS} s"
    if error is not None and error.errno:
        return os.strerror(error.errno)
    return "it failed"
