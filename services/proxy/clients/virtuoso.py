"""The Virtuoso API over HTTP. Its credential lives here and nowhere else: it is put on at the last moment, never
follows a redirect, and is taken out of whatever comes back.

aiohttp directly, because a pass-through through httpx costs more than the whole rest of the proxy.
"""

import asyncio
import json
from collections.abc import Callable, Mapping

import aiohttp
from yarl import URL

from services.proxy.clients import answers
from services.proxy.clients.answers import SYSTEM, RawAnswer
from services.proxy.models import PassedAnswer, PassedRequest, UpstreamAnswer, UpstreamRequest
from services.proxy.settings import ProxyGroup
from shared.errors import CadenzaError, UpstreamInvalid, UpstreamTimeout, UpstreamUnavailable
from shared.security.redaction import Redactor

CLIENT_NAME = "cadenza"
TO_UPSTREAM = frozenset(
    {
        "accept",
        "accept-language",
        "content-type",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "x-v-session-id",
    }
)
"""Headers of a passed request that go on. A list of what may pass, so that no credential, cookie or hop-by-hop header
of a caller ever does.
"""
TO_CALLER = frozenset(
    {
        "cache-control",
        "content-disposition",
        "content-language",
        "content-type",
        "etag",
        "expires",
        "last-modified",
        "retry-after",
        "vary",
    }
)
"""Headers of an answer that go back; the body is decoded, so its encoding and length do not."""


class VirtuosoClient:
    """Implements `ports.Upstream`."""

    name = "virtuoso-client"

    def __init__(
        self, settings: ProxyGroup, *, trace_headers: Callable[[], Mapping[str, str]] = dict
    ) -> None:
        token = settings.upstream_token.get_secret_value()
        self._settings = settings
        self._base = str(settings.upstream_url).rstrip("/")
        self._own_headers = {"X-Virtuoso-Client-Name": CLIENT_NAME}
        if token:
            self._own_headers["Authorization"] = f"Bearer {token}"
        self._redactor = Redactor([token])
        self._trace_headers = trace_headers
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the pool; nothing is called yet."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._settings.max_connections),
            timeout=aiohttp.ClientTimeout(
                total=self._settings.timeout_seconds,
                sock_connect=self._settings.connect_timeout_seconds,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, request: UpstreamRequest) -> UpstreamAnswer:
        body = None if request.body is None else json.dumps(request.body).encode()
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return answers.read(await self._exchange(request.method, request.path, headers, body))

    async def forward(self, request: PassedRequest) -> PassedAnswer:
        headers = {
            name: value for name, value in request.headers.items() if name.lower() in TO_UPSTREAM
        }
        raw = await self._exchange(request.method, request.target, headers, request.body or None)
        answers.check_passed(raw)
        back = {name: value for name, value in raw.headers.items() if name in TO_CALLER}
        return PassedAnswer(raw.status, back, raw.body)

    async def _exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None
    ) -> RawAnswer:
        if self._session is None:
            raise UpstreamUnavailable("the client is not started")
        try:
            async with self._session.request(
                method,
                URL(self._base + target, encoded=True),
                headers={**headers, **self._trace_headers(), **self._own_headers},
                data=body,
                allow_redirects=False,
                skip_auto_headers=("Content-Type", "User-Agent"),
            ) as answer:
                return RawAnswer(
                    answer.status,
                    {
                        name.lower(): self._redactor.redact(value)
                        for name, value in answer.headers.items()
                    },
                    self._redactor.mask_known(await self._read(answer)),
                )
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise self._translated(error) from None

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        limit = self._settings.max_answer_bytes
        gathered = bytearray()
        async for chunk in answer.content.iter_any():
            gathered += chunk
            if len(gathered) > limit:
                raise UpstreamInvalid(f"{SYSTEM}'s answer is larger than {limit} bytes")
        return bytes(gathered)

    def _translated(self, error: Exception) -> CadenzaError:
        """Without the original, which may quote the request's headers."""
        cause = type(error).__name__
        if isinstance(error, asyncio.TimeoutError):
            seconds = self._settings.timeout_seconds
            return UpstreamTimeout(
                f"{SYSTEM} did not answer within {seconds:g} seconds", cause=cause
            )
        if isinstance(error, aiohttp.ClientConnectorError):
            return UpstreamUnavailable(f"{SYSTEM} cannot be reached", cause=cause)
        return UpstreamUnavailable(f"{SYSTEM} broke off before its answer was whole", cause=cause)
