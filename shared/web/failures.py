"""What the framework raises, in Cadenza's words: validation errors by field, unknown addresses, unreadable bodies."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from shared.errors import CadenzaError, FieldError, InvalidRequest, NotFound
from shared.web.problems import build, problem

MAX_FIELD_ERRORS = 100  # a broken list of 10,000 elements needs no 10,000 lines to be understood

_TITLES = {400: "The request cannot be read", 405: "The method is not allowed here"}


async def on_known_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, CadenzaError)  # noqa: S101 - registered for it alone
    return problem(request, error)


async def on_invalid_input(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it alone
    fields = [_field_error(one) for one in error.errors()[:MAX_FIELD_ERRORS]]
    return problem(request, InvalidRequest(_summary(fields), errors=fields))


async def on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it alone
    if isinstance(error.__cause__, CadenzaError):  # raised while the body was read
        return problem(request, error.__cause__)
    if error.__cause__ is not None and error.status_code == 400:
        return problem(request, _unreadable(error.__cause__))
    if error.status_code == 404:
        path = request.scope["path"]
        advice = "; try it without the '/' at its end" if path.endswith("/") and path != "/" else ""
        return problem(request, NotFound(f"there is nothing at this address{advice}"))
    return build(
        request,
        status=error.status_code,
        code="method_not_allowed" if error.status_code == 405 else "http_error",
        title=_TITLES.get(error.status_code, "The request was refused"),
        detail=str(error.detail),
        headers=error.headers,
    )


HANDLERS: Mapping[Any, Any] = {
    CadenzaError: on_known_error,
    RequestValidationError: on_invalid_input,
    HTTPException: on_http_exception,
}


def _unreadable(cause: BaseException) -> CadenzaError:
    match cause:
        case UnicodeDecodeError():
            rule, message = "utf8", f"the body is not valid UTF-8 (byte {cause.start})"
        case RecursionError():
            rule, message = "depth", "the body is nested too deeply"
        case _:
            rule, message = "json", "the body is not valid JSON"
    return InvalidRequest(message, errors=[FieldError("body", rule, message)])


def _field_error(one: Mapping[str, Any]) -> FieldError:
    if one["type"] == "json_invalid":
        reason = one.get("ctx", {}).get("error", "")
        return FieldError("body", "json", f"not valid JSON at position {one['loc'][-1]}: {reason}")
    return FieldError(field_path(one["loc"]), str(one["type"]), str(one["msg"]))


def field_path(location: Sequence[Any]) -> str:
    """`("body", "plan", "steps", 2, "name")` → `plan.steps[2].name`; what is not in the body keeps its prefix."""
    parts = list(location)
    if len(parts) > 1 and parts[0] == "body":
        parts = parts[1:]
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".")


def _summary(fields: Sequence[FieldError]) -> str:
    first = fields[0]
    more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
    return f"{first.field}: {first.message}{more}"
