"""Reading Virtuoso's answers: what is an answer, what is an error, and whose.

A 2xx is believed only if its body is JSON: with an expired credential some paths answer 200 and a login page, or the
bare text `Not Found`. Errors come as `{"success": false, "error": {"code", "message"}}`, seldom with a plain text.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.proxy.errors import (
    UpstreamConflict,
    UpstreamDenied,
    UpstreamForbidden,
    UpstreamNoJson,
    UpstreamNotFound,
    UpstreamRejected,
)
from services.proxy.models import UpstreamAnswer
from shared.errors import CadenzaError, RateLimited, UpstreamInvalid, UpstreamUnavailable

SYSTEM = "Virtuoso"
AGAIN = frozenset({408, 425})
DEFAULT_RETRY_AFTER = 1.0

_BY_STATUS: Mapping[int, type[CadenzaError]] = {
    401: UpstreamDenied,
    403: UpstreamForbidden,
    404: UpstreamNotFound,
    409: UpstreamConflict,
}


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """Status, headers (lower case) and decoded body as they came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def read(raw: RawAnswer) -> UpstreamAnswer:
    """The content of a good answer, without its envelope. Raises what any other answer stands for."""
    content = _json_or_none(raw.body)
    if not 200 <= raw.status < 300:
        raise refusal(raw.status, content, retry_after=raw.headers.get("retry-after"))
    if not raw.body.strip():
        return UpstreamAnswer(raw.status, None)
    if not isinstance(content, dict | list):
        raise no_json(raw)
    if isinstance(content, dict) and content.get("success") is False:
        raise refusal(400, content)
    return UpstreamAnswer(raw.status, unwrapped(content))


def unwrapped(content: Any) -> Any:
    """Take `{"success": true, "item" | "items" | "map": …}` apart."""
    if not isinstance(content, dict) or content.get("success") is not True:
        return content
    return next((content[name] for name in ("item", "items", "map") if name in content), content)


def check_passed(raw: RawAnswer) -> None:
    """What a pass-through must not hand on as an answer: redirects, login pages, refusals of our own credential."""
    if raw.status == 401:
        raise refusal(401, _json_or_none(raw.body))
    if 300 <= raw.status < 400 and raw.status != 304:
        raise refusal(raw.status, None)
    if 200 <= raw.status < 300 and _is_page(raw):
        raise no_json(raw)


def refusal(status: int, content: Any, *, retry_after: str | None = None) -> CadenzaError:
    """The error that this status and body stand for."""
    code, message = _code_and_message(content)
    said = f": {message}" if message else ""
    numbered = f" (code {code})" if code else ""
    text = f"{SYSTEM} answered {status}{said}{numbered}"
    upstream = {"status": status, "code": code, "message": message}
    if status == 429:
        return RateLimited(text, retry_after=_seconds(retry_after), upstream=upstream)
    if status >= 500 or status in AGAIN:
        return UpstreamUnavailable(text, retry_after=_seconds(retry_after), upstream=upstream)
    if 300 <= status < 400:
        return UpstreamInvalid(f"{SYSTEM} answered with a redirect ({status})", upstream=upstream)
    return _BY_STATUS.get(status, UpstreamRejected)(text, upstream=upstream)


def no_json(raw: RawAnswer) -> UpstreamNoJson:
    """A 2xx that is no answer."""
    kind = raw.headers.get("content-type", "no content type")
    return UpstreamNoJson(
        f"{SYSTEM} answered {raw.status} with something that is no JSON ({kind}); has the credential expired?",
        upstream={"status": raw.status, "code": None, "message": None},
    )


def _is_page(raw: RawAnswer) -> bool:
    start = raw.body[:64].strip().lower()
    html = "text/html" in raw.headers.get("content-type", "")
    return html or start.startswith((b"<!doctype html", b"<html")) or start == b"not found"


def _json_or_none(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _code_and_message(content: Any) -> tuple[str | None, str | None]:
    error = content.get("error") if isinstance(content, dict) else None
    match error:
        case {"code": code, **rest}:
            return str(code), str(rest.get("message") or "") or None
        case {"message": message}:
            return None, str(message)
        case str():
            return None, error
    return None, None


def _seconds(header: str | None) -> float:
    try:
        return max(0.0, float(header or DEFAULT_RETRY_AFTER))
    except ValueError:
        return DEFAULT_RETRY_AFTER
