"""Errors as `application/problem+json` (RFC 9457), and the one table that says which error is which status.

An error that is not in the table takes the row of its nearest ancestor; what is no `CadenzaError` at all is a 500 that
says nothing of its inside. `detail` is the error's own sentence; context stays in the logs.
"""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from shared import errors
from shared.errors import CadenzaError, FieldError, InvalidRequest, TransientError, Unauthorized

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:cadenza:problem:"


class HeadersTooLarge(errors.PermanentError):
    """The request's headers are larger than allowed."""

    code = "headers_too_large"


class UnsupportedEncoding(errors.PermanentError):
    """The body is encoded in a way that is not understood here."""

    code = "unsupported_encoding"


STATUS: Mapping[type[CadenzaError], int] = {
    errors.InvalidRequest: 422,
    errors.TooLarge: 413,
    HeadersTooLarge: 431,
    UnsupportedEncoding: 415,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Gone: 410,
    errors.RateLimited: 429,
    errors.UpstreamUnavailable: 502,
    errors.UpstreamTimeout: 504,
    errors.UpstreamInvalid: 502,
    errors.RetriesExhausted: 502,
    errors.StorageUnavailable: 503,
    errors.BrokerUnavailable: 503,
    errors.Overloaded: 503,
    errors.TransientError: 503,
    errors.PermanentError: 400,
    errors.InvalidMessage: 422,
    errors.CadenzaError: 500,
}


def status_of(error: CadenzaError) -> int:
    """The HTTP status that stands for this error."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem(request: Request, error: CadenzaError) -> Response:
    """The answer that tells a caller what went wrong."""
    headers = {}
    if isinstance(error, TransientError):
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after or 1)))
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = 'Bearer realm="cadenza", ApiKey realm="cadenza"'
    return build(
        request,
        status=status_of(error),
        code=error.code,
        title=title_of(type(error)),
        detail=error.message,
        errors=error.errors if isinstance(error, InvalidRequest) else (),
        headers=headers,
        upstream=error.context.get("upstream"),
    )


def unexpected(request: Request) -> Response:
    """The answer to what nobody foresaw: it says nothing but where to look."""
    return build(
        request,
        status=500,
        code="internal_error",
        title="Something went wrong on our side",
        detail="The error has been logged under this request id.",
    )


def title_of(kind: type[CadenzaError]) -> str:
    """The first line of the class's docstring: the same for every error of its kind."""
    return (kind.__doc__ or CadenzaError.__doc__ or "").strip().splitlines()[0].rstrip(".")


def build(
    request: Request,
    *,
    status: int,
    code: str,
    title: str,
    detail: str,
    errors: Iterable[FieldError] = (),
    headers: Mapping[str, str] | None = None,
    upstream: Mapping[str, Any] | None = None,
) -> Response:
    """A problem document with Cadenza's members; `upstream` is what another system answered: status, code, message."""
    body: dict[str, Any] = {
        "type": TYPE_PREFIX + code,
        "title": title,
        "status": status,
        "detail": detail,
        "instance": request.scope["path"],
        "code": code,
    }
    if request_id := request.scope.get("state", {}).get("request_id"):
        body["request_id"] = request_id
    if fields := [{"field": one.field, "rule": one.rule, "message": one.message} for one in errors]:
        body["errors"] = fields
    if upstream:
        body["upstream"] = dict(upstream)
    # ensure_ascii: a lone surrogate in a message would break UTF-8
    return Response(json.dumps(body), status_code=status, headers=headers, media_type=CONTENT_TYPE)
