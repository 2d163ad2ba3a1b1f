"""The real server on a loopback port: starting, refusing, ending."""

import asyncio
import json
import signal
import socket
import time

import httpx
import pytest
from fastapi import APIRouter
from starlette.responses import StreamingResponse

from shared.errors import ConfigurationError
from shared.runtime import Health
from shared.settings import HttpSettings
from shared.web.app import build_web_app
from shared.web.server import WebServer

LIMIT = 100_000


def build_routes(begun: asyncio.Event) -> APIRouter:
    router = APIRouter()

    @router.get("/events")
    async def events() -> StreamingResponse:
        async def endless():
            yield b"data: hello\n\n"
            begun.set()
            await asyncio.sleep(60)

        return StreamingResponse(endless(), media_type="text/event-stream")

    @router.get("/slow")
    async def slow(seconds: float) -> dict[str, str]:
        begun.set()
        await asyncio.sleep(seconds)
        return {"slow": "done"}

    @router.post("/body")
    async def body(data: dict) -> dict[str, int]:
        return {"keys": len(data)}

    return router


@pytest.fixture
def begun() -> asyncio.Event:
    return asyncio.Event()


def make(begun: asyncio.Event, *, port: int = 0, graceful_seconds: int = 5) -> WebServer:
    settings = HttpSettings(port=port, max_body_bytes=LIMIT)
    app = build_web_app(
        title="t",
        version="1",
        settings=settings,
        health=Health(),
        routers=[build_routes(begun)],
        authenticator=None,
    )
    return WebServer(app, settings, graceful_seconds=graceful_seconds)


@pytest.fixture
async def server(begun):
    running = make(begun)
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def client(server):
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
        yield client


async def exchange(server: WebServer, request: bytes) -> bytes:
    """What the server answers to these bytes until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


async def test_an_answer_under_way_goes_nowhere_once_what_follows_is_refused(server, caplog):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /slow?seconds=0.1 HTTP/1.1\r\nHost: x\r\n\r\n\0no http\r\n\r\n")
    answer = await reader.read()
    await asyncio.sleep(0.3)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"slow" not in answer
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_serves_and_leaves_signals_alone(begun):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    server = make(begun)
    await server.start()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{server.port}/health")
    assert answer.status_code == 200
    assert "server" not in answer.headers
    port = server.port
    await server.stop()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    again = make(begun, port=port)
    await again.start()
    await again.stop()


async def test_a_taken_port_is_a_wrong_setting(begun, server):
    second = make(begun, port=server.port)
    with pytest.raises(ConfigurationError, match=rf"port {server.port} is taken.*HTTP__PORT"):
        await second.start()
    await second.stop()


async def test_an_impossible_address_is_a_wrong_setting():
    server = WebServer(None, HttpSettings(host="192.0.2.1"))
    with pytest.raises(ConfigurationError, match="HTTP__HOST"):
        await server.start()
    await server.stop()


async def test_stopping_ends_event_streams_at_once_and_properly(begun):
    server = make(begun)
    await server.start()
    client = httpx.AsyncClient()
    async with client.stream("GET", f"http://127.0.0.1:{server.port}/events") as answer:
        reading = asyncio.create_task(answer.aread())
        await begun.wait()
        started = time.monotonic()
        await server.stop()
        assert await reading == b"data: hello\n\n"
        assert time.monotonic() - started < 1.5
    await client.aclose()


async def test_requests_in_flight_are_answered_while_it_stops(begun):
    server = make(begun)
    await server.start()
    async with httpx.AsyncClient() as client:
        request = asyncio.create_task(
            client.get(f"http://127.0.0.1:{server.port}/slow?seconds=0.5")
        )
        await begun.wait()
        await server.stop()
        assert (await request).json() == {"slow": "done"}


async def test_a_request_that_takes_too_long_does_not_hold_the_stop(begun):
    server = make(begun, graceful_seconds=1)
    await server.start()
    async with httpx.AsyncClient() as client:
        request = asyncio.create_task(client.get(f"http://127.0.0.1:{server.port}/slow?seconds=60"))
        await begun.wait()
        async with asyncio.timeout(4):
            await server.stop()
        with pytest.raises(httpx.HTTPError):
            (await request).raise_for_status()


async def test_too_large_bodies_get_413_and_the_connection_goes_on(client):
    for _ in range(2):
        answer = await client.post("/body", content=b"x" * (50 * LIMIT))
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert (await client.post("/body", json={"a": 1})).json() == {"keys": 1}


async def test_too_large_bodies_without_length_get_413(server):
    piece = b"2710\r\n" + b" " * 10_000 + b"\r\n"
    head = b"POST /body HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(head + b"\r\n" + piece * 11)
    async with asyncio.timeout(5):
        answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("size", [40_000, 3_000_000])
async def test_a_head_that_is_too_large_gets_431(server, size):
    request = b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-large: " + b"x" * size
    answer = await exchange(server, request + (b"\r\n\r\n" if size < 50_000 else b""))
    assert answer.startswith(b"HTTP/1.1 431")
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["code"] == "headers_too_large"


async def test_what_is_not_http_gets_a_problem_too(server):
    answer = await exchange(server, b"\x16\x03\x01 hello\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["status"] == 400


async def test_the_parts_of_an_answer_do_not_wait_for_each_other(server):
    """Without TCP_NODELAY every answer on a connection that was used before took 40 ms."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
        await client.get("/health")
        (protocol,) = server._server.server_state.connections
        accepted = protocol.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
