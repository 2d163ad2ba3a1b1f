"""Bodies, ranges, signatures: what callers send, judged without any server."""

import hashlib
import hmac
import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from services.gateway.bodies import CancelBody, ExtractionBody, ScanBody, read, read_json
from services.gateway.errors import BadSignature, RangeNotSatisfiable
from services.gateway.intake import content_hash
from services.gateway.ranges import ByteRange, byte_range
from services.gateway.routes import executions
from services.gateway.routes.executions import EXAMPLE
from services.gateway.routes.parameters import Moment
from services.gateway.signatures import Signatures
from shared.errors import InvalidRequest
from shared.plans.validation import validate_submission


@pytest.mark.parametrize(
    ("header", "start", "length", "partial"),
    [
        (None, 0, 100, False),
        ("bytes=0-0", 0, 1, True),
        ("bytes=10-19", 10, 10, True),
        ("bytes = 10 - 19", 10, 10, True),
        ("bytes=90-1000", 90, 10, True),
        ("bytes=99-", 99, 1, True),
        ("bytes=-1", 99, 1, True),
        ("bytes=-1000", 0, 100, True),
        ("bytes=-", 0, 100, False),
        ("bytes=5-4", 0, 100, False),
        ("bytes=0-1,5-6", 0, 100, False),
        ("lines=1-2", 0, 100, False),
        ("bytes=a-b", 0, 100, False),
    ],
)
def test_ranges(header, start, length, partial):
    assert byte_range(header, 100) == ByteRange(start, length, partial=partial)


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_ranges_beyond_the_end(header):
    with pytest.raises(RangeNotSatisfiable):
        byte_range(header, 100)


def test_every_range_of_an_empty_file_is_beyond_its_end():
    assert byte_range(None, 0) == ByteRange(0, 0, partial=False)
    with pytest.raises(RangeNotSatisfiable):
        byte_range("bytes=0-", 0)


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"1", b"null", b"{", b'{"a"}', b"\xff\xfe{}", b"{\x00}"]
)
def test_what_is_no_json_object(raw):
    with pytest.raises(InvalidRequest) as caught:
        read_json(raw)
    assert caught.value.errors[0].field == "body"


def test_utf_16_is_not_guessed():
    with pytest.raises(InvalidRequest):
        read_json('{"a": 1}'.encode("utf-16"))


def test_bodies_name_the_field():
    for model, raw, field in [
        (CancelBody, b'{"reson": "x"}', "reson"),
        (CancelBody, b'{"reason": 1}', "reason"),
        (ScanBody, b'{"regions": ["a b"]}', "regions[0]"),
        (ExtractionBody, b'{"customer_id": "001"}', "execution_id"),
        (ExtractionBody, b'{"customer_id": "a/b", "execution_id": 1}', "customer_id"),
    ]:
        with pytest.raises(InvalidRequest) as caught:
            read(model, raw)
        assert caught.value.errors[0].field == field


def test_ids_may_be_numbers():
    body, written = read(ExtractionBody, b'{"customer_id": 1, "execution_id": 88715}')
    assert (body.customer_id, body.execution_id) == ("1", "88715")
    assert written == {"customer_id": 1, "execution_id": 88715}


def test_the_hash_is_of_content_and_tenant():
    a, b = {"x": 1, "y": {"p": 1, "q": [1, 2]}}, {"y": {"q": [1, 2], "p": 1}, "x": 1}
    assert content_hash("demo", a) == content_hash("demo", b)
    assert content_hash("demo", a) != content_hash("other", a)
    assert content_hash("demo", a) != content_hash("demo", a | {"x": 2})


def test_the_hash_is_of_any_text_that_json_can_hold():
    assert content_hash("a", {"x": "\ud800"}) != content_hash("a", {"x": "\udfff"})


def test_what_cannot_be_hashed_is_nested_too_deeply():
    body: dict = {}
    for _ in range(sys.getrecursionlimit() + 1):
        body = {"a": body}
    with pytest.raises(InvalidRequest, match="too deeply"):
        content_hash("a", body)


def test_moments_are_in_utc_and_within_its_years():
    moments = TypeAdapter(Moment)
    assert (
        moments.validate_python("2026-01-01T01:00:00+01:00").isoformat()
        == "2026-01-01T00:00:00+00:00"
    )
    for beyond in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        with pytest.raises(ValidationError, match="outside the years"):
            moments.validate_python(beyond)


def test_signatures():
    signatures = Signatures({"demo": "s", "empty": ""})
    raw = b"{}"

    def sign(secret):
        return "sha256=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()

    assert signatures.verify("demo", raw, sign("s")) == "demo"
    for tenant, signature in [
        ("demo", sign("t")),
        ("demo", sign("s").upper()),
        ("demo", "ä"),
        ("empty", sign("")),
        (None, sign("")),
        ("", sign("")),
        ("nobody", sign("")),
    ]:
        with pytest.raises(BadSignature):
            signatures.verify(tenant, raw, signature)


def test_the_example_of_the_docs_is_valid():
    assert validate_submission(EXAMPLE).plan.name == "build-and-test"


def test_direct_routes_are_documented_ones():
    documented = {
        (method, route.path)
        for route in executions.build_router(None, None, None).routes
        for method in route.methods
    }
    assert {(one.method, one.path) for one in executions.build_direct(None)} <= documented
