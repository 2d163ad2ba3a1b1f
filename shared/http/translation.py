"""httpx's errors in Cadenza's words; no exception of httpx or aiohttp passes a client.

with translated("virtuoso"):
    response = await client.get("/executions/1")
document = json_of(response, system="virtuoso")
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import httpx

from shared.clock import now
from shared.errors import (
    CadenzaError,
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

_BY_STATUS: dict[int, type[PermanentError]] = {
    400: InvalidRequest,
    401: Forbidden,  # our credentials, not the caller's
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    422: InvalidRequest,
}
_AGAIN = frozenset({408, 425})


@contextmanager
def translated(system: str) -> Iterator[None]:
    """Errors of a call to `system` come out as Cadenza's: UpstreamUnavailable (context `sent`: the request may have
    arrived), or that of the status when `raise_for_status` was called inside.
    """
    try:
        yield
    except httpx.HTTPStatusError as error:
        raise error_of(error.response, system=system) from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise InvalidRequest(f"{system}: the address is not usable: {error}") from error
    except (httpx.RequestError, aiohttp.ClientError, OSError, TimeoutError) as error:
        raise _unavailable(system, error) from error


def _unavailable(system: str, error: BaseException) -> UpstreamUnavailable:
    # The transport calls every failed connection a time-out of httpx; its cause tells what it was.
    cause = error.__cause__ or error
    match cause:
        case aiohttp.ConnectionTimeoutError() | httpx.PoolTimeout():
            what, sent = "did not answer in time", False
        case aiohttp.ClientConnectorError() | httpx.ConnectError():
            what, sent = "cannot be reached", False
        case TimeoutError() | httpx.TimeoutException():
            what, sent = "did not answer in time", True
        case _:
            what, sent = "closed the connection before its answer was whole", True
    return UpstreamUnavailable(
        f"{system} {what}", system=system, sent=sent, cause=type(cause).__name__
    )


def error_of(response: httpx.Response, *, system: str) -> CadenzaError:
    """The error that a status of 300 and above stands for."""
    status = response.status_code
    message = f"{system} answered {status}"
    context: dict[str, Any] = {"system": system, "status": status}
    if status == 429:
        return RateLimited(message, retry_after=retry_after(response), **context)
    if status >= 500 or status in _AGAIN:
        return UpstreamUnavailable(message, retry_after=retry_after(response), sent=True, **context)
    return _BY_STATUS.get(status, PermanentError)(message, **context)


def checked(response: httpx.Response, *, system: str) -> httpx.Response:
    """The response itself when it is a success. Raises what its status stands for."""
    if response.is_success:
        return response
    raise error_of(response, system=system)


def json_of(response: httpx.Response, *, system: str) -> Any:
    """The JSON of a success. A 200 that is a login page or half an answer is UpstreamUnavailable, never data."""
    checked(response, system=system)
    try:
        return response.json()
    except (ValueError, RecursionError) as error:
        kind = response.headers.get("content-type", "no content type")
        raise UpstreamUnavailable(
            f"{system} answered {response.status_code} with something that is not JSON ({kind})",
            system=system,
            status=response.status_code,
            sent=True,
        ) from error


def retry_after(response: httpx.Response) -> float | None:
    """Seconds of a `Retry-After` header, which may also be a date; None when there is none that can be read."""
    text = response.headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        return _seconds_until(text)
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _seconds_until(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now()).total_seconds())
