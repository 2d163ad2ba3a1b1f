"""Calls to others over a real loopback connection: what goes wrong comes out in Cadenza's words."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from aiohttp import web
from httpx_aiohttp import AiohttpTransport

from shared.errors import (
    Conflict,
    Forbidden,
    Gone,
    InvalidRequest,
    NotFound,
    PermanentError,
    RateLimited,
    TooLarge,
    UpstreamUnavailable,
)
from shared.http.client import build_client
from shared.http.translation import checked, json_of, retry_after, translated


async def answer(request: web.Request) -> web.StreamResponse:
    match request.path:
        case "/json":
            return web.json_response({"agent": request.headers["user-agent"]})
        case "/login":
            return web.Response(text="<html>please log in</html>", content_type="text/html")
        case "/half":
            return web.Response(text='{"data": [1, 2', content_type="application/json")
        case "/redirect":
            return web.Response(status=302, headers={"location": "/json"})
        case "/slow":
            await asyncio.sleep(30)
        case "/hang-up":
            request.transport.abort()
        case "/cut":
            response = web.StreamResponse(headers={"content-length": "1000"})
            await response.prepare(request)
            await response.write(b"only this")
            request.transport.abort()
            return response
        case "/echo":
            return web.json_response(await request.json())
    return web.Response(status=int(request.query.get("status", 404)))


@pytest.fixture
async def upstream():
    runner = web.AppRunner(web.Application(), shutdown_timeout=0.1)
    runner.app.router.add_route("*", "/{path:.*}", answer)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def client(upstream):
    async with build_client(base_url=upstream, timeout=0.3, headers={"x-team": "a"}) as client:
        yield client


async def test_runs_on_the_aiohttp_transport(client):
    assert isinstance(client._transport, AiohttpTransport)
    with translated("upstream"):
        response = await client.get("/json")
    assert json_of(response, system="upstream") == {"agent": "cadenza"}
    with translated("upstream"):
        response = await client.post("/echo", json={"ä": [1, None]})
    assert response.json() == {"ä": [1, None]}


@pytest.mark.parametrize(
    ("path", "sent", "words"),
    [
        ("/slow", True, "did not answer in time"),
        ("/hang-up", True, "closed the connection"),
        ("/cut", True, "closed the connection"),
    ],
)
async def test_broken_answers_are_unavailable(client, path, sent, words):
    with (
        pytest.raises(UpstreamUnavailable, match=f"^virtuoso {words}") as raised,
        translated("virtuoso"),
    ):
        await client.post(path, json={})
    assert raised.value.context["sent"] is sent
    assert raised.value.__cause__ is not None


async def test_nobody_listens(unused_tcp_port):
    async with build_client(base_url=f"http://127.0.0.1:{unused_tcp_port}") as client:
        with (
            pytest.raises(UpstreamUnavailable, match="cannot be reached") as raised,
            translated("virtuoso"),
        ):
            await client.get("/")
    assert raised.value.context["sent"] is False


async def test_no_free_connection_is_a_timeout_and_nothing_was_sent(upstream):
    async with build_client(base_url=upstream, timeout=0.3, max_connections=1) as client:
        busy = asyncio.create_task(client.get("/slow"))
        await asyncio.sleep(0.05)
        with pytest.raises(UpstreamUnavailable, match="in time") as raised, translated("upstream"):
            await client.get("/json", timeout=httpx.Timeout(0.1, read=5))
        with pytest.raises(httpx.TimeoutException):
            await busy
    assert raised.value.context["sent"] is False


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (302, PermanentError),
        (400, InvalidRequest),
        (401, Forbidden),
        (403, Forbidden),
        (404, NotFound),
        (408, UpstreamUnavailable),
        (409, Conflict),
        (410, Gone),
        (413, TooLarge),
        (418, PermanentError),
        (422, InvalidRequest),
        (429, RateLimited),
        (500, UpstreamUnavailable),
        (503, UpstreamUnavailable),
    ],
)
async def test_statuses(client, status, error):
    with pytest.raises(error) as raised, translated("virtuoso"):
        (await client.get(f"/?status={status}")).raise_for_status()
    assert type(raised.value) is error
    assert raised.value.context["status"] == status
    assert raised.value.message == f"virtuoso answered {status}"
    with pytest.raises(error):
        checked(await client.get(f"/?status={status}"), system="virtuoso")


async def test_redirects_are_not_followed(client):
    with pytest.raises(PermanentError):
        json_of(await client.get("/redirect"), system="virtuoso")


@pytest.mark.parametrize("path", ["/login", "/half"])
async def test_a_200_that_is_not_json_is_no_data(client, path):
    with pytest.raises(UpstreamUnavailable, match="not JSON"):
        json_of(await client.get(path), system="virtuoso")


@pytest.mark.parametrize(("header", "seconds"), [("7", 7), ("1.5", 1.5), ("-3", 0)])
def test_retry_after_in_seconds(header, seconds):
    assert retry_after(httpx.Response(429, headers={"retry-after": header})) == seconds


@pytest.mark.parametrize(("offset", "low", "high"), [(60, 50, 60), (-86_400, 0, 0)])
def test_retry_after_as_a_date(offset, low, high):
    header = format_datetime(datetime.now(UTC) + timedelta(seconds=offset), usegmt=True)
    assert low <= retry_after(httpx.Response(429, headers={"retry-after": header})) <= high


@pytest.mark.parametrize("header", ["", "soon", "nan", "inf"])
def test_retry_after_that_cannot_be_read(header):
    assert retry_after(httpx.Response(429, headers={"retry-after": header})) is None


async def test_an_address_that_is_none():
    async with build_client() as client:
        with pytest.raises(InvalidRequest), translated("webhook"):
            await client.get("ftp://example.com/x")


async def test_other_errors_pass_unchanged():
    with pytest.raises(KeyError), translated("virtuoso"):
        raise KeyError("a bug of ours")
