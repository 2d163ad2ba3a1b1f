"""What is not HTTP, not quite HTTP, or HTTP without end."""

import gzip
import os
import socket
import time

import pytest

from tests.promises.hostile.wire import GOOD, SECONDS, checked_problem, request, talk

CHUNKED = b"Transfer-Encoding: chunked\r\n"

NOT_HTTP = {
    "random": os.urandom(300),
    "nul": bytes(100),
    "tls": bytes.fromhex("160301020001000001fc0303") + bytes(500),
    "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http/3.7": b"GET / HTTP/3.7\r\nHost: x\r\n\r\n",
    "unknown method": request(line=b"FROB /v1/executions HTTP/1.1"),
    "lower case": request(line=b"post /v1/executions HTTP/1.1"),
    "connect": b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "no address": b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
    "nul in address": b"GET /v1/\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "latin-1 address": b"GET /v1/\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "utf-8 address": "GET /v1/ä HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    "two lengths": request(b"Content-Length: 5\r\n"),
    "negative length": request(b"Content-Length: -5\r\n", declared=False),
    "signed length": request(b"Content-Length: +5\r\n", declared=False),
    "endless length": request(b"Content-Length: 99999999999999999999999\r\n", declared=False),
    "length and chunks": request(CHUNKED),
    "compressed transfer": request(b"Transfer-Encoding: gzip\r\n", declared=False),
    "bad chunk": request(CHUNKED, b"zz\r\n", declared=False),
    "huge chunk": request(CHUNKED, b"ffffffffffffffffff\r\n", declared=False),
    "nul in header": request(b"X-A: a\0b\r\n"),
    "control in header": request(b"X-A: a\x01b\r\n"),
    "bare line feeds": b"GET /health HTTP/1.1\nHost: x\n\n",
    "folded header": request(b"X-A: a\r\n b\r\n"),
    "space before colon": request(b"X-A : a\r\n"),
}

REFUSED = {
    "64 KiB header": (request(b"X-A: " + b"x" * 65_536 + b"\r\n"), 431),
    "33 KiB header": (request(b"X-A: " + b"x" * 33_000 + b"\r\n"), 431),
    "1 MB key": (request(b"Idempotency-Key: " + b"k" * 1_000_000 + b"\r\n"), 431),
    "10,000 headers": (request(b"".join(b"x%d: y\r\n" % n for n in range(10_000))), 431),
    "64 KiB address": (request(line=b"GET /" + b"a" * 65_536 + b" HTTP/1.1", body=b""), 431),
    "declared 10 GB": (request(b"Content-Length: 9999999999\r\n", declared=False), 413),
    "gzip": (request(b"Content-Encoding: gzip\r\n", gzip.compress(GOOD)), 415),
    "gzip bomb": (request(b"Content-Encoding: gzip\r\n", gzip.compress(bytes(50_000_000))), 415),
    "says deflate": (request(b"Content-Encoding: deflate\r\n"), 415),
    "compressed chunks": (
        request(b"Transfer-Encoding: gzip, chunked\r\n", b"1\r\nx\r\n0\r\n\r\n", declared=False),
        415,
    ),
    "no body": (request(declared=False, body=b""), 422),
    "no key": (b"GET /v1/executions HTTP/1.1\r\nHost: x\r\n\r\n", 401),
    "odd key": (b"GET /v1/executions HTTP/1.1\r\nHost: x\r\nX-API-Key: \xff\xfe\r\n\r\n", 401),
    "key of control": (request(b"Idempotency-Key: a\x7fb\r\n"), 400),
    "bidi key": (request("Idempotency-Key: a\u202eb\r\n".encode()), 422),
    "empty key": (request(b"Idempotency-Key: \r\n"), 422),
    "key of 256": (request(b"Idempotency-Key: " + b"k" * 256 + b"\r\n"), 422),
    "unknown address": (request(line=b"GET /nothing HTTP/1.1", body=b""), 404),
    "slash at the end": (request(line=b"POST /v1/executions/ HTTP/1.1"), 404),
    "upwards": (request(line=b"GET /v1/../../etc/passwd HTTP/1.1", body=b""), 404),
    "upwards, hidden": (request(line=b"GET /v1/executions/%2e%2e%2fx HTTP/1.1", body=b""), 404),
    "nul, hidden": (request(line=b"GET /v1/executions/%00 HTTP/1.1", body=b""), 404),
    "no utf-8, hidden": (request(line=b"GET /v1/executions/%ff%fe HTTP/1.1", body=b""), 404),
    "wrong method": (request(line=b"DELETE /v1/executions HTTP/1.1"), 405),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404),
}

TAKEN = {
    "as usual": request(),
    "chunks": request(CHUNKED, b"%x\r\n%s\r\n0\r\n\r\n" % (len(GOOD), GOOD), declared=False),
    "asked first": request(b"Expect: 100-continue\r\n"),
    "expects odd things": request(b"Expect: a-miracle\r\n"),
    "odd agent": request(b"User-Agent: \x80\xff\xc3\r\n"),
    "odd trace": request(b"traceparent: \xff-00-" + b"f" * 48 + b"\r\n"),
    "odd forwarding": request(b"X-Forwarded-For: \xff, <script>, ::::\r\n"),
    "odd request id": request(b"X-Request-ID: \x80\xff\r\n"),
    "latin-1 key": request(b"Idempotency-Key: \xe4\r\n"),
    "key of 255": request(b"Idempotency-Key: " + b"k" * 255 + b"\r\n"),
    "31 KiB header": request(b"X-A: " + b"x" * 31_000 + b"\r\n"),
    "wants a websocket": request(b"Upgrade: websocket\r\nConnection: upgrade\r\n"),
    "wants http/2": request(b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n"),
    "form": request(b"Content-Type: application/x-www-form-urlencoded\r\n"),
    "xml, it says": request(b"Content-Type: application/xml; charset=utf-16\r\n"),
    "identity": request(b"Content-Encoding: identity\r\n"),
    "two hosts": request(b"Host: y\r\n"),
}


@pytest.mark.parametrize("name", NOT_HTTP)
def test_what_is_not_http_is_refused_and_the_connection_ends(target, name):
    answer = talk(target.port, NOT_HTTP[name])
    assert answer is not None
    assert (answer.status, answer.problem()["code"]) == (400, "bad_request")
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_taken_is_refused_with_a_sentence(target, name):
    raw, status = REFUSED[name]
    answer = talk(target.port, raw)
    assert answer is not None
    assert answer.status == status, answer.body
    answer.problem()


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_odd_but_harmless_is_taken(target, name):
    answer = talk(target.port, TAKEN[name])
    assert answer is not None
    assert answer.status == 202, answer.body


def test_chunks_without_end_stop_at_the_limit(target):
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    answer = talk(target.port, request(CHUNKED, b"", declared=False), (chunk for _ in range(2_000)))
    assert answer is not None
    assert (answer.status, answer.problem()["code"]) == (413, "too_large")


def test_trailers_without_end_are_not_kept(target):
    before = target.memory_mb
    begun = request(CHUNKED, b"2\r\n{}\r\n0\r\n", declared=False)
    answer = talk(target.port, begun, (b"x%d: " % n + b"y" * 4000 + b"\r\n" for n in range(20_000)))
    assert answer is None or answer.problem()["status"] in (422, 431)
    assert target.memory_mb - before < 20


def test_chunk_extensions_without_end_are_refused(target):
    begun = request(CHUNKED, b"2;", declared=False)
    answer = talk(target.port, begun, (b"y" * 4000 for _ in range(20_000)))
    assert answer is None or answer.problem()["status"] == 431


def test_a_body_in_chunks_of_one_byte_is_taken(target):
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in GOOD + b" " * 50_000)
    answer = talk(target.port, request(CHUNKED, b"", declared=False), chunks, b"0\r\n\r\n")
    assert answer is not None
    assert answer.status == 202, answer.body


@pytest.mark.parametrize(
    ("begun", "drop"),
    [
        (b"GET /heal", b"t"),
        (b"GET /health HTTP/1.1\r\nX-A: ", b"a"),
        (b"GET /health HTTP/1.1\r\n", b"X-A: b\r\n"),
        (request(b"Content-Length: 5000\r\n", b"", declared=False, last=False), b" "),
        (request(CHUNKED, b"", declared=False, last=False), b"1\r\n \r\n"),
        (request(CHUNKED, b"2;", declared=False, last=False), b"y"),
    ],
    ids=["line", "value", "headers", "body", "chunks", "chunk extension"],
)
def test_a_request_that_drips_is_ended(target, begun, drop):
    """The limit is 2 s here; without it each such connection would be held for ever."""
    since = time.monotonic()
    with socket.create_connection(("127.0.0.1", target.port), timeout=SECONDS) as connection:
        connection.sendall(begun)
        connection.settimeout(0.2)
        received = b""
        while time.monotonic() - since < SECONDS:
            try:
                received = connection.recv(65536)
                break
            except TimeoutError:
                connection.sendall(drop)
    assert time.monotonic() - since < SECONDS
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert checked_problem(408, "application/problem+json", body)["code"] == "request_timeout"


def test_a_connection_that_says_nothing_is_ended(target):
    with socket.create_connection(("127.0.0.1", target.port), timeout=SECONDS) as connection:
        assert connection.recv(100) == b""


def test_an_upload_that_breaks_off_is_no_error_of_ours(target):
    """The fixture looks into the log."""
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", target.port), timeout=SECONDS) as connection:
            connection.sendall(request(b"Content-Length: 5000\r\n", GOOD, declared=False))


def test_a_hundred_requests_in_one_breath_get_a_hundred_answers(target):
    with socket.create_connection(("127.0.0.1", target.port), timeout=SECONDS) as connection:
        connection.sendall(request(last=False) * 99 + request())
        received = b""
        while data := connection.recv(65536):
            received += data
    assert received.count(b"HTTP/1.1 202 ") == 100


@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.chaos)])
def test_idempotency_keys_of_a_megabyte_cost_no_memory(target, count):
    raw = request(b"Idempotency-Key: " + b"k" * 1_000_000 + b"\r\n")
    talk(target.port, raw)
    before = target.memory_mb
    for _ in range(count):
        answer = talk(target.port, raw)
        assert answer is None or answer.status == 431
    assert target.memory_mb - before < 20
