"""The proxy that is the browser's one way out, spoken to as a browser does."""

import asyncio
import contextlib
import struct

import pytest

from services.executor.programs.browser.guard import NOT_ALLOWED, OK, UNKNOWN_COMMAND, UNREACHABLE
from services.executor.programs.browser.guard import Guard as Proxy
from services.executor.programs.browser.requests import BrowserRequest

HERE = ("127.0.0.1/32",)


def proxy(*, networks=HERE, hosts=()) -> Proxy:
    return Proxy(
        BrowserRequest(
            program="x", folder="x", working_dir="x", artifacts=None, outputs="x",
            allowed_networks=networks, allowed_hosts=hosts,
        )
    )  # fmt: skip


async def through(guard: Proxy, host: str, port: int, *, command=1):
    """Ask for a connection; the code of the answer and the streams."""
    reader, writer = await asyncio.open_connection("127.0.0.1", guard.port)
    name = host.encode()
    asked = bytes((5, command, 0, 3, len(name))) + name + struct.pack("!H", port)
    writer.write(b"\x05\x01\x00" + asked)
    assert await reader.readexactly(2) == b"\x05\x00"
    answer = await reader.readexactly(10)
    return answer[1], reader, writer


@pytest.fixture
async def echo():
    """A server that gives back what it gets, to the end; its port, and where it was called from."""
    called = []

    async def came(reader, writer):
        called.append(writer.get_extra_info("sockname")[0])
        try:
            while piece := await reader.read(65536):
                if piece == b"break":
                    writer.transport.abort()
                    return
                writer.write(piece)
                await writer.drain()
                if piece.endswith(b"end"):
                    return
        finally:
            writer.close()

    server = await asyncio.start_server(came, "0.0.0.0", 0)
    yield server.sockets[0].getsockname()[1], called
    server.close()


async def test_bytes_pass_both_ways_and_an_end_is_an_end(echo):
    port, _ = echo
    async with proxy() as guard:
        code, reader, writer = await through(guard, "127.0.0.1", port)
        assert code == OK
        sent = b"x" * 3_000_000 + b"end"
        writer.write(sent)
        assert await asyncio.wait_for(reader.read(-1), 30) == sent
        writer.close()


async def test_what_broke_off_breaks_off(echo):
    port, _ = echo
    async with proxy() as guard:
        _, reader, writer = await through(guard, "127.0.0.1", port)
        writer.write(b"break")
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(-1), 30) == b""
        writer.close()


@pytest.mark.parametrize(
    "host", ["127.0.0.2", "localhost", "169.254.169.254", "10.0.0.1", "[::1]", "[::ffff:127.0.0.1]"]
)
async def test_private_addresses_are_refused_by_whatever_name(host, echo):
    port, called = echo
    async with proxy(networks=()) as guard:
        code, _, writer = await through(guard, host, port)
        writer.close()
        assert code == NOT_ALLOWED
        refused = guard.why(f"http://{host}:{port}/path")
        assert refused.kind == "address_refused"
        assert "EXECUTOR__HTTP_ALLOWED_NETWORKS" in refused.sentence
    assert called == []


async def test_a_name_that_changes_its_meaning_leads_nowhere_else(echo, monkeypatch):
    """What was looked at is connected to, and every connection is looked at anew."""
    port, called = echo
    loop = asyncio.get_running_loop()
    meanings = [["127.0.0.2"], ["127.0.0.1"], ["127.0.0.1", "127.0.0.2"]]
    real = loop.getaddrinfo

    async def changing(host, *rest, **options):
        if host == "rebound.test":
            return [(2, 1, 6, "", (address, port)) for address in meanings.pop(0)]
        return await real(host, *rest, **options)

    monkeypatch.setattr(loop, "getaddrinfo", changing)
    codes = []
    async with proxy(networks=("127.0.0.2/32",)) as guard:
        for _ in range(3):
            code, _, writer = await through(guard, "rebound.test", port)
            codes.append(code)
            writer.write(b"end")
            writer.close()
    assert codes == [OK, NOT_ALLOWED, OK]
    assert set(called) == {"127.0.0.2"}


async def test_hosts_that_settings_do_not_name_and_names_without_address(echo):
    port, called = echo
    async with proxy(hosts=("127.0.*", "*.invalid")) as guard:
        for host, expected, kind in [
            ("localhost", NOT_ALLOWED, "host_refused"),
            ("nowhere.invalid", UNREACHABLE, "unreachable"),
        ]:
            code, _, writer = await through(guard, host, port)
            writer.close()
            assert (code, guard.why(f"ws://{host}:{port}").kind) == (expected, kind)
        assert guard.latest.sentence == "the host name nowhere.invalid has no address"
        code, _, writer = await through(guard, "127.0.0.1", port)
        assert code == OK
        assert guard.why(f"http://127.0.0.1:{port}") is None
        writer.close()
    assert called == ["127.0.0.1"]


async def test_nothing_but_connections(echo):
    """No UDP, and no nonsense; neither harms the next."""
    port, called = echo
    async with proxy() as guard:
        code, _, writer = await through(guard, "127.0.0.1", port, command=3)
        writer.close()
        assert code == UNKNOWN_COMMAND
        reader, writer = await asyncio.open_connection("127.0.0.1", guard.port)
        writer.write(b"\x05\x01\x00\x05\x01\x00\x03\x03\xff\xfe\xfd\x00\x50")
        assert (await reader.read(-1))[2:3] != b"\x00"
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", guard.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        writer.write_eof()
        await reader.read(-1)
        writer.close()
        assert called == []
        code, _, writer = await through(guard, "127.0.0.1", port)
        assert code == OK
        writer.close()


async def test_at_the_end_no_connection_is_left(echo):
    port, _ = echo
    async with proxy() as guard:
        _, reader, writer = await through(guard, "127.0.0.1", port)
    assert await asyncio.wait_for(reader.read(-1), 30) == b""
    writer.close()


async def test_nobody_listens_there():
    async with proxy(networks=("127.0.0.0/8",)) as guard:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.9", 0)
        free = server.sockets[0].getsockname()[1]
        server.close()
        code, _, writer = await through(guard, "127.0.0.9", free)
        writer.close()
        assert code == UNREACHABLE
        assert guard.latest.sentence == f"no connection to 127.0.0.9:{free}: Connection refused"
