"""One JSON call to another service, its errors in our words.

A whole call has a time limit of its own, an answer a size limit. A success that is no JSON (a login page) may be one
the next time: UpstreamUnavailable. A refusal carries what the service said about it in `context["detail"]`.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx

from shared.errors import CadenzaError, TransientError, UpstreamInvalid, UpstreamUnavailable
from shared.http.client import build_client
from shared.http.translation import error_of, translated

MAX_DETAIL = 500
LARGE = 256 * 1024


class JsonService:
    """A service that talks JSON at one address."""

    def __init__(
        self, system: str, url: str, *, headers: Mapping[str, str], timeout: float, max_bytes: int
    ) -> None:
        self._system = system
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._http = build_client(
            base_url=url.rstrip("/"),
            timeout=timeout,
            headers={"accept": "application/json", **headers},
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON of a success. Raises what any other answer, or none, stands for."""
        sent = {**(headers or {})}
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            sent["content-type"] = "application/json"
        with translated(self._system):
            async with asyncio.timeout(self._timeout):
                response, raw = await self._exchange(method, path, sent, content)
        if not response.is_success:
            raise self._refused(response, raw)
        try:
            if len(raw) > LARGE:  # other runs do not wait for that
                return await asyncio.to_thread(_parsed, raw)
            return _parsed(raw)
        except (ValueError, RecursionError):
            kind = response.headers.get("content-type", "no content type")
            raise UpstreamUnavailable(
                f"{self._system} answered {response.status_code} with something that is not JSON ({kind})"
            ) from None

    async def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes | None
    ) -> tuple[httpx.Response, bytes]:
        async with self._http.stream(method, path, headers=headers, content=content) as response:
            gathered = bytearray()
            async for chunk in response.aiter_bytes():
                gathered += chunk
                if len(gathered) > self._max_bytes:
                    raise UpstreamInvalid(
                        f"{self._system} answers with more than {self._max_bytes} bytes"
                    )
            return response, bytes(gathered)

    def _refused(self, response: httpx.Response, raw: bytes) -> CadenzaError:
        error = error_of(response, system=self._system)
        if detail := _detail(raw):
            error.context = {**error.context, "detail": detail}
        if isinstance(error, TransientError) and response.status_code in (429, 503):
            error.context = {**error.context, "sent": False}  # turned away before anything was done
        return error


def _detail(raw: bytes) -> str:
    """What an error body says for people, wherever it says it."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return ""
    for name in ("detail", "message", "error"):
        value = body.get(name) if isinstance(body, dict) else None
        if isinstance(value, dict):
            value = value.get("message")
        if isinstance(value, str) and value.strip():
            return " ".join(value.split())[:MAX_DETAIL]
    return ""


def _parsed(raw: bytes) -> Any:
    return json.loads(raw, parse_constant=_no_number)


def _no_number(name: str) -> Any:
    raise ValueError(name)
