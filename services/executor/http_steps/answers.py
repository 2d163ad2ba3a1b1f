"""An answer as checks and later steps see it: as text, as JSON where it is some."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.executor.commands.reach import HttpAnswer
from shared.plans.json_values import unfaithful
from shared.security.redaction import Redactor

_CHARSETS = re.compile(
    r"us-ascii|iso-8859-(?:[1-9]|1[013-6])|windows-125[0-8]|utf-16(?:[bl]e)?"
    r"|shift_jis|euc-(?:jp|kr)|gb18030|gbk|big5"
)
_TEXTUAL = ("text/", "json", "xml", "javascript", "x-www-form-urlencoded")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, ready to be looked at."""

    status: int
    headers: Mapping[str, str]
    """By names in small letters."""
    text: str
    latency_ms: float
    json: Any = None
    is_json: bool = False


def read(answer: HttpAnswer) -> Answer:
    """JSON is what can be read as such, whatever the server calls it."""
    text = answer.body.decode(_charset(answer.headers.get("content-type", "")), "replace")
    text = text.encode("utf-8", "replace").decode()  # without halves of surrogate pairs
    try:
        value, is_json = json.loads(text), bool(text)
    except (ValueError, RecursionError):
        value, is_json = None, False
    return Answer(answer.status, answer.headers, text, answer.latency_ms, value, is_json)


def outputs_of(answer: HttpAnswer, seen: Answer, redactor: Redactor) -> dict[str, Any]:
    """What later steps may use. Headers that carry credentials (`set-cookie`) are masked."""
    return {
        "status": answer.status,
        "headers": redactor.redact_json(dict(answer.headers)),
        "body": _body(answer, seen),
        "size_bytes": len(answer.body),
        "latency_ms": round(answer.latency_ms, 1),
        "url": answer.url,
    }


def _body(answer: HttpAnswer, seen: Answer) -> Any:
    """JSON as it is, a text as text, None for anything else."""
    kind = answer.headers.get("content-type", "").lower()
    textual = not kind or any(word in kind for word in _TEXTUAL)
    if seen.is_json and textual and not unfaithful(seen.json, "body"):
        return seen.json
    return seen.text.replace("\0", "\ufffd") if textual else None


def _charset(content_type: str) -> str:
    """As the server says, where that is a plain one: some that Python knows take very long."""
    _, _, charset = content_type.lower().partition("charset=")
    name = charset.split(";")[0].strip(" \"'")
    return name if _CHARSETS.fullmatch(name) else "utf-8"
