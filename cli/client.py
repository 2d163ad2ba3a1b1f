"""The public REST API as the commands use it. The only file of the command line that knows HTTP.

Nothing that the platform answers is hidden: a problem becomes `Refused`, no answer `Unreachable`. A broken event
stream is taken up again where it broke (`Last-Event-ID`).
"""

import ipaddress
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx

from cli.exits import UNREACHABLE, Refused, Unreachable
from cli.sse import Message, messages

Json = dict[str, Any]
T = TypeVar("T")
_PATIENCE_SECONDS = 60.0  # how long the gateway may be away before following a run is given up
_RETRY_MS = 500


class Client:
    """One service of the platform."""

    def __init__(self, url: str, api_key: str, *, timeout: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url,
            timeout=timeout,
            headers={"X-API-Key": api_key, "User-Agent": "cadenza-cli"},
            trust_env=not _is_local(url),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> Json:
        return self._json(self._request("GET", path, params=_given(query)))

    def post(
        self, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Json:
        return self._json(self._request("POST", path, json=body, headers=headers))

    def patch(self, path: str, body: Any) -> Json:
        return self._json(self._request("PATCH", path, json=body))

    def put(self, path: str, body: Any = None) -> Json:
        return self._json(self._request("PUT", path, json=body))

    def delete(self, path: str) -> Json:
        return self._json(self._request("DELETE", path))

    def post_bytes(self, path: str, body: bytes, *, headers: Mapping[str, str]) -> Json:
        """Post exactly these bytes (a signature covers them)."""
        return self._json(self._request("POST", path, content=body, headers=headers))

    def post_file(self, path: str, file: IO[bytes], **query: Any) -> Json:
        """Post a file as it is, piece by piece; storing it may take the platform a while."""
        patience = httpx.Timeout(60.0, read=600.0)
        return self._json(
            self._request("POST", path, content=file, params=_given(query), timeout=patience)
        )

    def items(self, path: str, *, limit: int | None = None, **query: Any) -> Iterator[Json]:
        """All items of a listing, page by page; at most `limit` of them."""
        left, cursor = limit, query.pop("cursor", None)
        while True:
            page = self.get(path, **query, cursor=cursor, limit=min(left or 200, 200))
            for item in page["items"]:
                yield item
                if left is not None and (left := left - 1) == 0:
                    return
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    def download(self, path: str) -> bytes:
        return self._request("GET", path).content

    def events(self, execution_id: str, *, after: str | None = None) -> Iterator[Message]:
        """The life of an execution, until its end; broken connections are taken up again."""
        path = f"/v1/executions/{execution_id}/events"
        broken_since: float | None = None
        retry_ms = _RETRY_MS
        while True:
            try:
                for message in self._stream(path, after):
                    retry_ms = message.retry_ms or retry_ms
                    if message.event in ("", "reconnect"):
                        continue
                    broken_since, after = None, message.id or after
                    yield message
                    if message.event == "run.finished":
                        return
            except httpx.TransportError as error:
                broken_since = broken_since or time.monotonic()
                if time.monotonic() - broken_since > _PATIENCE_SECONDS:
                    raise self._unreachable(error) from None
            time.sleep(retry_ms / 1000)

    def patiently(self, ask: Callable[[], T]) -> T:
        """The answer, asked for again while the gateway is away for a moment. For what changes nothing."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return ask()
            except (Refused, Unreachable) as error:
                if error.code != UNREACHABLE or time.monotonic() > deadline:
                    raise
            time.sleep(_RETRY_MS / 1000 * random.uniform(1, 2))

    def _stream(self, path: str, after: str | None) -> Iterator[Message]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
        silence = httpx.Timeout(30.0, read=60.0)  # the gateway sends a heartbeat every 15 s
        with self._http.stream("GET", path, headers=headers, timeout=silence) as response:
            if response.status_code >= 500:
                raise httpx.ReadError(f"HTTP {response.status_code}")
            if response.is_error:
                response.read()
                raise _refused(response)
            yield from messages(response.iter_lines())

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise self._unreachable(error) from None
        if response.is_error:
            raise _refused(response)
        return response

    def _json(self, response: httpx.Response) -> Json:
        if not response.content:
            return {}
        try:
            answer = response.json()
        except ValueError:
            raise Unreachable(f"{self.url} does not answer like Cadenza.") from None
        return answer if isinstance(answer, dict) else {"items": answer}

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(
            f"{self.url} cannot be reached ({str(error) or type(error).__name__}): "
            "start the sandbox with `cadenza up`, or set CADENZA_URL."
        )


def _refused(response: httpx.Response) -> Refused:
    try:
        problem = response.json()
    except (ValueError, json.JSONDecodeError):
        problem = {"detail": f"HTTP {response.status_code}: {response.text[:200]}"}
    return Refused(response.status_code, problem if isinstance(problem, dict) else {})


def _given(query: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value not in (None, [], ())}


def _is_local(url: str) -> bool:
    """A proxy that the environment names is not for this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
