"""Reading requests: bodies that must be JSON objects, fields that must be there, ids as number or text."""

import json
from typing import Any

from starlette.requests import Request

from sandbox.virtuoso.answers import Json, bad_request


async def body(request: Request) -> Json:
    """The request's JSON object; an absent body counts as `{}`."""
    raw = await request.body()
    if not raw:
        return {}
    try:
        value = json.loads(raw)
    except ValueError:
        raise bad_request("The request body is not valid JSON") from None
    if not isinstance(value, dict):
        raise bad_request("The request body must be an object")
    return value


def text(source: Json, field: str) -> str:
    value = source.get(field)
    if not isinstance(value, str) or not value:
        raise bad_request(f"{field} is required")
    return value


def number(source: Json, field: str) -> int:
    """An id: the clients send both numbers and digits."""
    return whole(source.get(field), field)


def whole(value: Any, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise bad_request(f"{field} is required")
    try:
        return int(value)
    except ValueError:
        raise bad_request(f"{field} must be a number") from None


def path_id(request: Request, name: str = "id") -> int:
    return int(request.path_params[name])


def query_id(request: Request, name: str) -> int:
    return whole(request.query_params.get(name), name)
