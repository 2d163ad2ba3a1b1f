import json

import pytest

from services.proxy import errors
from services.proxy.clients.answers import RawAnswer, check_passed, read
from services.proxy.routes.passthrough import target_of
from shared.errors import InvalidRequest, RateLimited, UpstreamInvalid, UpstreamUnavailable

JSON = {"content-type": "application/json"}
HTML = {"content-type": "text/html"}


def raw(status, body, headers=JSON):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return RawAnswer(status, headers, data)


def refusal(code, message):
    return {"success": False, "error": {"code": code, "message": message}}


@pytest.mark.parametrize(
    ("body", "content"),
    [
        ({"success": True, "item": {"id": 1}}, {"id": 1}),
        ({"success": True, "items": [1]}, [1]),
        ({"success": True, "map": {"1": {}}}, {"1": {}}),
        ({"success": True}, {"success": True}),
        ({"testStep": {"id": 1}}, {"testStep": {"id": 1}}),
        ([1, 2], [1, 2]),
        (b"", None),
    ],
)
def test_envelope_is_taken_off(body, content):
    assert read(raw(200, body)).content == content


@pytest.mark.parametrize(
    ("status", "body", "headers", "kind"),
    [
        (200, b"<!DOCTYPE html><html>log in</html>", HTML, errors.UpstreamNoJson),
        (200, b"Not Found", {"content-type": "text/plain"}, errors.UpstreamNoJson),
        (200, "Not Found", JSON, errors.UpstreamNoJson),
        (200, b"{broken", JSON, errors.UpstreamNoJson),
        (200, refusal("2605", "Variable syntax is invalid"), JSON, errors.UpstreamRejected),
        (301, b"", {}, UpstreamInvalid),
        (400, refusal("2605", "Invalid test step command"), JSON, errors.UpstreamRejected),
        (401, refusal("401", "Unauthorized"), JSON, errors.UpstreamDenied),
        (403, b"no", {}, errors.UpstreamForbidden),
        (404, refusal("2500", "Checkpoint not found"), JSON, errors.UpstreamNotFound),
        (404, b"Not Found", {}, errors.UpstreamNotFound),
        (409, {"success": False, "error": "stale"}, JSON, errors.UpstreamConflict),
        (429, b"", {"retry-after": "7"}, RateLimited),
        (500, b"<html>", HTML, UpstreamUnavailable),
        (503, refusal("503", "busy"), JSON, UpstreamUnavailable),
    ],
)
def test_everything_else_is_an_error_of_its_kind(status, body, headers, kind):
    with pytest.raises(kind) as caught:
        read(raw(status, body, headers))
    assert type(caught.value) is kind


def test_upstream_code_and_message_are_kept():
    with pytest.raises(
        errors.UpstreamNotFound, match=r"Checkpoint not found \(code 2500\)"
    ) as caught:
        read(raw(404, refusal("2500", "Checkpoint not found")))
    assert caught.value.context["upstream"] == {
        "status": 404,
        "code": "2500",
        "message": "Checkpoint not found",
    }


def test_retry_after_is_kept():
    with pytest.raises(RateLimited) as caught:
        read(raw(429, b"", {"retry-after": "7"}))
    assert caught.value.retry_after == 7


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [(200, b"<html>", HTML), (200, b" Not Found\n", {}), (302, b"", {}), (401, b"{}", JSON)],
)
def test_pass_through_refuses_what_is_no_answer(status, body, headers):
    with pytest.raises(UpstreamInvalid):
        check_passed(raw(status, body, headers))


@pytest.mark.parametrize("status", [200, 201, 204, 304, 400, 403, 404, 409, 429, 500])
def test_pass_through_hands_answers_on(status):
    check_passed(raw(status, {"success": False}))


@pytest.mark.parametrize(
    ("path", "query", "target"),
    [
        (b"/api/projects", b"", "/projects"),
        (b"/api/projects", b"organizationId=1&limit=2", "/projects?organizationId=1&limit=2"),
        (b"/api/a%20b/c%2Fd", b"q=%C3%A9", "/a%20b/c%2Fd?q=%C3%A9"),
        (b"/api/", b"", "/"),
    ],
)
def test_target_passes_encoded_as_it_came(path, query, target):
    assert target_of(path, query) == target


@pytest.mark.parametrize(
    "path",
    [
        b"/api/../admin",
        b"/api/%2e%2e/admin",
        b"/api/a/%2E./b",
        b"/api/a/./b",
        b"/api/x%0d%0ay",
        b"/api/..%5cx",
        b"/api/a%23b",
        b"/api/\xff",
    ],
)
def test_target_cannot_leave_the_base(path):
    with pytest.raises(InvalidRequest):
        target_of(path, b"")
