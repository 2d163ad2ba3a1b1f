"""`http` steps over real sockets: answers, expectations, closed addresses, and everything that may go wrong."""

import asyncio
import datetime as dt
import gzip
import ipaddress
import json
import socket
import ssl
import time

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.executor.addresses import AddressPolicy
from services.executor.clients.http import GuardedHttpCaller
from services.executor.commands.reach import Reach
from services.executor.commands.registry import build_registry
from shared.plans.json_values import unfaithful
from shared.security.redaction import Redactor
from tests.unit.executor.processes.contexts import a_context

HTTP = build_registry().get("http")
LOCAL = AddressPolicy([ipaddress.ip_network("127.0.0.1/32")])
SHOP = {"items": [{"id": 1, "name": "tea", "price": 2.5}, {"id": 2, "name": "ink", "price": 9}]}


async def _echo(request):
    body = await request.text()
    return web.json_response(
        {
            "method": request.method,
            "query": request.rel_url.raw_query_string,
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "body": body,
        },
        headers={"Set-Cookie": "session=very-private; Path=/"},
    )


async def _redirect(request):
    raise web.HTTPFound(request.query["to"])


async def _again(request):
    raise web.HTTPTemporaryRedirect(request.query["to"])


async def _loop(_):
    raise web.HTTPFound("/loop")


async def _slow(request):
    await asyncio.sleep(30)


async def _huge(request):
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(300):
        await response.write(b"x" * 10_000)
    return response


async def _bomb(request):
    packed = gzip.compress(bytes(50_000_000))
    return web.Response(body=packed, headers={"Content-Encoding": "gzip"})


async def _packed(request):
    packed = gzip.compress(json.dumps(SHOP).encode())
    return web.Response(
        body=packed, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"}
    )


async def _shop(request):
    return web.json_response(SHOP)


async def _image(request):
    return web.Response(body=b"\x89\0", content_type="image/png")


async def _status(request):
    return web.Response(status=int(request.match_info["code"]))


async def _odd(request):
    body = b'{"n": 123456789012345678901234567890, "s": "\\ud800"}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Odd: \xff\r\nContent-Length: %d\r\n\r\n"
    request.transport.write(head % len(body) + body)
    request.transport.close()
    return web.Response()


async def _broken(request):
    request.transport.close()
    return web.Response()


def _application():
    app = web.Application()
    app.router.add_route("*", "/echo", _echo)
    app.router.add_get("/shop", _shop)
    app.router.add_get("/redirect", _redirect)
    app.router.add_get("/slow", _slow)
    app.router.add_get("/odd", _odd)
    app.router.add_post("/again", _again)
    app.router.add_get("/loop", _loop)
    app.router.add_get("/huge", _huge)
    app.router.add_get("/bomb", _bomb)
    app.router.add_get("/packed", _packed)
    app.router.add_get("/broken", _broken)
    app.router.add_get("/image", _image)
    app.router.add_get("/status/{code}", _status)
    return app


@pytest.fixture
async def server():
    runner = web.AppRunner(_application(), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "0.0.0.0", 0)
    await site.start()
    yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    await runner.cleanup()


@pytest.fixture
def ask(tmp_path):
    async def run(url, *, policy=LOCAL, secrets=(), timeout=20, **arguments):
        reach = Reach(http=GuardedHttpCaller(policy))
        ctx, printed = a_context(tmp_path, timeout=timeout, reach=reach, redactor=Redactor(secrets))
        return await HTTP.execute({"url": url, **arguments}, ctx), printed.stdout

    return run


async def test_an_answer_becomes_outputs(ask, server):
    outcome, said = await ask(
        f"{server}/echo?a=1",
        method="POST",
        query={"b": [2, True], "c": "x y"},
        headers={"X-Number": 5},
        body={"json": {"n": None}},
        extract={"method": "$.method", "all": "$..method", "x-number": "$.headers['x-number']"},
    )
    assert (outcome.status, outcome.reason) == ("completed", None), outcome.error
    outputs = outcome.outputs
    assert outputs["status"] == 200
    assert outputs["body"]["query"] == "a=1&b=2&b=true&c=x+y"
    assert json.loads(outputs["body"]["body"]) == {"n": None}
    assert outputs["body"]["headers"]["content-type"] == "application/json"
    assert (outputs["method"], outputs["all"], outputs["x-number"]) == ("POST", ["POST"], "5")
    assert outputs["latency_ms"] > 0
    assert outputs["headers"]["set-cookie"] == "[redacted]"
    assert said.startswith(f"> POST {server}/echo?a=1&b=2&b=true&c=x+y\n< 200, ")


async def test_forms_texts_and_bytes(ask, server):
    form, _ = await ask(f"{server}/echo", method="POST", body={"form": {"a": [1, "ü"]}})
    assert form.outputs["body"]["body"] == "a=1&a=%C3%BC"
    text, _ = await ask(f"{server}/echo", method="PUT", body={"text": "hello"})
    assert text.outputs["body"]["headers"]["content-type"] == "text/plain; charset=utf-8"
    image, _ = await ask(f"{server}/image")
    assert (image.outputs["body"], image.outputs["size_bytes"]) == (None, 2)
    packed, _ = await ask(f"{server}/packed")
    assert packed.outputs["body"] == SHOP


async def test_an_address_is_sent_as_it_was_written(ask, server):
    outcome, _ = await ask(f"{server}/echo?a=%2Fx%41&b=%3a+1&c=ü")
    assert outcome.outputs["body"]["query"] == "a=%2Fx%41&b=%3a+1&c=%C3%BC"


@pytest.mark.breaks
async def test_what_cannot_be_stored_does_not_reach_the_outputs(ask, server):
    outcome, _ = await ask(f"{server}/odd", extract={"n": "$.n"})
    assert (outcome.status, outcome.reason) == ("failed", "assertion_failed")
    assert "64 bits" in outcome.error
    assert unfaithful(dict(outcome.outputs), "outputs") == []
    assert outcome.outputs["headers"]["x-odd"] == "\ufffd"


GOOD = {
    "status": ["2xx", 304],
    "max_ms": 10_000,
    "headers": {"Content-Type": {"contains": "json"}},
    "body": {"matches": "t[ea]+"},
    "json": [
        {"path": "$.items[0].name", "equals": "tea"},
        {"path": "$.items[?@.price > 5].name", "equals": ["ink"]},
        {"path": "$.items", "length": 2, "type": "array"},
        {"path": "$.items[*].name", "contains": "ink"},
        {"path": "$.items[1].price", "min": 8, "max": 9},
        {"path": "$.error", "exists": False},
        {"path": "$.items"},
    ],
    "schema": {"type": "object", "required": ["items"]},
}


async def test_expectations_that_hold(ask, server):
    outcome, said = await ask(f"{server}/shop", expect=GOOD)
    assert outcome.status == "completed", outcome.error
    assert said.count("\nok ") == 13
    assert "NOT" not in said


@pytest.mark.parametrize(
    ("expect", "sentence"),
    [
        ({"status": 201}, "status 201: it is 200"),
        ({"status": "400-499"}, "status 400-499: it is 200"),
        ({"max_ms": 0.001}, "answered within 0.001 ms: it is"),
        ({"headers": {"x-none": "1"}}, "header x-none: there is nothing"),
        ({"headers": {"content-type": "text/html"}}, "header content-type equals text/html"),
        ({"json": [{"path": "$.items[0].id", "equals": True}]}, "$.items[0].id equals true"),
        ({"json": [{"path": "$.items[0].id", "equals": "1"}]}, "it is 1"),
        ({"json": [{"path": "$.no", "min": 1}]}, "$.no: there is nothing"),
        ({"json": [{"path": "$.items", "exists": False}]}, "is not there"),
        ({"json": [{"path": "$.items[0].name", "matches": "^x"}]}, "matches ^x: it is tea"),
        ({"schema": {"required": ["total"]}}, 'schema: $: "total" is a required property'),
    ],
)
async def test_expectations_that_do_not_hold(ask, server, expect, sentence):
    outcome, said = await ask(f"{server}/shop", expect=expect)
    assert (outcome.status, outcome.reason) == ("failed", "assertion_failed")
    assert sentence in outcome.error
    assert outcome.outputs["body"] == SHOP, "people want to see what came instead"
    assert "NOT " in said or "schema" in expect


async def test_statuses_that_nobody_expected(ask, server):
    broken, _ = await ask(f"{server}/status/503")
    assert (broken.status, broken.reason) == ("failed", "upstream_error")
    missing, _ = await ask(f"{server}/status/404")
    assert (missing.status, missing.reason) == ("failed", "assertion_failed")
    expected, _ = await ask(f"{server}/status/503", expect={"status": "5xx"})
    assert expected.status == "completed"
    no_json, _ = await ask(f"{server}/status/200", extract={"a": "$.b"})
    assert no_json.error == "a: there is nothing at $.b"


@pytest.mark.breaks
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "0x7f.1"]
)
async def test_closed_addresses_are_refused_however_they_are_written(ask, server, host):
    url = server.replace("127.0.0.1", host)
    outcome, _ = await ask(f"{url}/shop", policy=AddressPolicy())
    assert (outcome.status, outcome.reason) == ("failed", "address_refused"), outcome.error
    assert "EXECUTOR__HTTP_ALLOWED_NETWORKS" in outcome.error


@pytest.mark.breaks
async def test_a_redirect_to_a_closed_address_is_refused(ask, server):
    closed = server.replace("127.0.0.1", "127.0.0.2")
    to = {"to": f"{closed}/shop"}
    outcome, _ = await ask(f"{server}/redirect", query=to, follow_redirects=True)
    assert (outcome.status, outcome.reason) == ("failed", "address_refused")
    outcome, _ = await ask(f"{server}/redirect", query=to)
    assert (outcome.status, outcome.outputs["status"]) == ("completed", 302)


@pytest.mark.breaks
async def test_a_name_that_means_another_address_a_moment_later_is_refused(
    ask, server, monkeypatch
):
    loop, port = asyncio.get_running_loop(), int(server.rsplit(":", 1)[1])
    answers = iter(["127.0.0.1", "127.0.0.2"])

    async def getaddrinfo(host, port, **_):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    first, _ = await ask(f"http://rebinding.test:{port}/shop")
    second, _ = await ask(f"http://rebinding.test:{port}/shop")
    assert (first.status, second.reason) == ("completed", "address_refused")


async def test_credentials_go_to_the_first_origin_only(ask, server):
    other = server.replace("127.0.0.1", "localhost")
    policy = AddressPolicy([ipaddress.ip_network("127.0.0.1/32"), ipaddress.ip_network("::1/128")])
    headers = {"Authorization": "Bearer 0123456789abcdef0123", "X-Api-Key": "mine", "Accept": "a/b"}
    for to, sent in ((f"{other}/echo", False), (f"{server}/echo", True)):
        outcome, _ = await ask(
            f"{server}/redirect", query={"to": to}, headers=headers, follow_redirects=True, policy=policy
        )  # fmt: skip
        assert outcome.status == "completed", outcome.error
        assert ("x-api-key" in outcome.outputs["body"]["headers"]) == sent
        assert ("authorization" in outcome.outputs["body"]["headers"]) == sent
        assert outcome.outputs["body"]["headers"]["accept"] == "a/b"
        assert outcome.outputs["url"] == to


async def test_a_body_stays_with_its_origin(ask, server):
    policy = AddressPolicy([ipaddress.ip_network("127.0.0.0/8")])
    more = {"method": "POST", "body": {"json": {"a": 1}}, "follow_redirects": True}
    same, _ = await ask(f"{server}/again", query={"to": f"{server}/echo"}, policy=policy, **more)
    assert json.loads(same.outputs["body"]["body"]) == {"a": 1}
    elsewhere = server.replace("127.0.0.1", "127.0.0.2")
    other, _ = await ask(
        f"{server}/again", query={"to": f"{elsewhere}/echo"}, policy=policy, **more
    )
    assert (other.status, other.reason) == ("failed", "upstream_error")


async def test_secrets_stay_out_of_log_and_outputs(ask, server):
    secret = "s3cr3t/välue"
    outcome, said = await ask(
        f"{server}/echo",
        method="POST",
        secrets=[secret],
        query={"key": secret},
        headers={"X-Key": "s3cr3t/v"},
        body={"json": {"key": secret}},
        expect={"json": [{"path": "$.body", "equals": "x"}]},
    )
    assert (outcome.status, outcome.reason) == ("failed", "assertion_failed")
    for text in (said, json.dumps(outcome.outputs, ensure_ascii=False), outcome.error):
        assert secret not in text
        assert "v%C3%A4lue" not in text
        assert "v\\u00e4lue" not in text


@pytest.mark.breaks
@pytest.mark.parametrize(
    ("path", "more", "reason"),
    [
        ("/slow", {"timeout_seconds": 0.3}, "upstream_timeout"),
        ("/huge", {}, "response_too_large"),
        ("/bomb", {}, "response_too_large"),
        ("/broken", {}, "upstream_error"),
        ("/shop", {"expect": {"json": [{"path": "$..a..b"}]}}, "invalid_arguments"),
        ("/shop", {"expect": {"json": [{"path": "$.a["}]}}, "invalid_arguments"),
        ("/shop", {"extract": {"x": "$.a[?@.b =~ /x/]"}}, "invalid_arguments"),
        ("/shop", {"extract": {"status": "$.a"}}, "invalid_arguments"),
        ("/shop", {"expect": {"body": {"matches": "(?=x)"}}}, "invalid_arguments"),
        ("/shop", {"expect": {"schema": {"type": 5}}}, "invalid_arguments"),
        ("/shop", {"expect": {"status": "maybe"}}, "invalid_arguments"),
        ("/shop", {"headers": {"A": "b\r\nC: d"}}, "invalid_arguments"),
        ("/shop", {"headers": {"A b": "c"}}, "invalid_arguments"),
        ("/shop", {"body": {"json": 1, "text": "x"}}, "invalid_arguments"),
        ("/shop", {"method": "TRACE"}, "invalid_arguments"),
        ("/redirect?to=/redirect%3Fto=x", {"follow_redirects": True}, "assertion_failed"),
        ("/loop", {"follow_redirects": True}, "too_many_redirects"),
    ],
)
async def test_what_goes_wrong_has_a_word(ask, server, path, more, reason):
    outcome, _ = await ask(f"{server}{path}", **more)
    assert (outcome.status, outcome.reason) == ("failed", reason), outcome.error


@pytest.mark.breaks
async def test_who_is_not_there(ask, server):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    refused, _ = await ask(f"http://127.0.0.1:{port}/")
    assert (refused.status, refused.reason) == ("failed", "connection_refused")
    unknown, _ = await ask("http://no-such-host.invalid/")
    assert (unknown.status, unknown.reason) == ("failed", "dns_failed")
    plain, _ = await ask(server.replace("http:", "https:"))
    assert (plain.status, plain.reason) == ("failed", "tls_failed")
    for url in ("http://", "http:///x", "http://a b/", "http://[::1", "http://127.0.0.1:99999/"):
        none, _ = await ask(url)
        assert (none.status, none.reason) == ("failed", "invalid_arguments"), url


@pytest.mark.breaks
async def test_a_schema_reads_nothing_and_may_not_take_for_ever(ask, server, tmp_path):
    (tmp_path / "other.json").write_text('{"type": "object"}')
    for reference in ((tmp_path / "other.json").as_uri(), f"{server}/shop"):
        outcome, _ = await ask(f"{server}/shop", expect={"schema": {"$ref": reference}})
        assert (outcome.status, outcome.reason) == ("failed", "invalid_arguments"), outcome
    # Each level asks twice for the next one: 2**60 questions.
    levels = {f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(60)}
    schema = {"$defs": levels | {"l60": {"type": "object"}}, "$ref": "#/$defs/l0"}
    begun = time.monotonic()
    outcome, _ = await ask(f"{server}/shop", expect={"schema": schema}, timeout=1.5)
    assert outcome.status in ("timed_out", "failed"), outcome
    assert time.monotonic() - begun < 15


async def test_cancel_and_deadline_end_the_waiting(tmp_path, server):
    reach = Reach(http=GuardedHttpCaller(LOCAL))
    ctx, _ = a_context(tmp_path, timeout=0.3, reach=reach)
    outcome = await HTTP.execute({"url": f"{server}/slow"}, ctx)
    assert (outcome.status, outcome.reason) == ("timed_out", "timeout")
    ctx, _ = a_context(tmp_path, timeout=20, reach=reach)
    asyncio.get_running_loop().call_later(0.2, ctx.cancel.set)
    outcome = await HTTP.execute({"url": f"{server}/slow"}, ctx)
    assert (outcome.status, outcome.reason) == ("cancelled", "cancelled")


async def test_without_the_port_there_are_no_requests(tmp_path):
    ctx, _ = a_context(tmp_path)
    outcome = await HTTP.execute({"url": "http://example.com/"}, ctx)
    assert (outcome.status, outcome.reason) == ("failed", "not_available")


async def test_a_certificate_of_nobody(ask, tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(tmp_path))
    runner = web.AppRunner(_application(), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    url = f"https://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/shop"
    try:
        outcome, _ = await ask(url)
        assert (outcome.status, outcome.reason) == ("failed", "tls_failed")
        outcome, _ = await ask(url, verify_tls=False)
        assert outcome.status == "completed", outcome.error
    finally:
        await runner.cleanup()


def _certificate(folder):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nobody")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = folder / "nobody.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path
