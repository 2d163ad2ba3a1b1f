"""The Virtuoso API, read only. The only user of httpx in this service.

Promises: an answer is whole, valid JSON in the API's envelope, or it is no answer: a 200 with a login page is tried
again like a 500. 429 and 5xx are tried again with growing pauses, never sooner than `Retry-After` says, until the
budget is used up; then the last error comes out. 404, 401 and 403 are answers of their own and are not repeated.
"""

import asyncio
import json
from typing import Any

import httpx

from services.extractor.errors import UnreadableAnswer
from services.extractor.models import Access, Answer
from services.extractor.settings import ExtractorGroup
from shared.clock import Clock
from shared.errors import TooLarge, TransientError
from shared.http.client import build_client
from shared.http.translation import checked, translated
from shared.retry import RetryPolicy

SYSTEM = "virtuoso"
RETRIES = RetryPolicy(max_attempts=1_000, initial_delay=0.5, factor=2.0, max_delay=30.0)
"""How long to pause; how often is decided by the budget."""
REFUSED = {401: "denied", 403: "denied", 404: "missing"}


class VirtuosoClient:
    """Reads what an extraction needs, for any customer."""

    name = "virtuoso-client"

    def __init__(
        self, settings: ExtractorGroup, *, clock: Clock, retries: RetryPolicy = RETRIES
    ) -> None:
        self._http = build_client(
            timeout=settings.request_timeout_seconds,
            max_connections=settings.max_connections,
            max_keepalive=settings.max_connections,
        )
        self._clock = clock
        self._timeout = settings.request_timeout_seconds
        self._budget = settings.retry_budget_seconds
        self._max_bytes = settings.max_answer_bytes
        self._retries = retries

    async def start(self) -> None:
        """Nothing to do: connections are opened when they are needed."""

    async def stop(self) -> None:
        await self._http.aclose()

    async def execution(self, access: Access, execution_id: int) -> Answer:
        return await self._read(access, f"execution-{execution_id}", f"/executions/{execution_id}")

    async def journey(self, access: Access, journey_id: int) -> Answer:
        path = f"/testsuites/{journey_id}?envelope=false"
        return await self._read(access, f"journey-{journey_id}", path)

    async def goal(self, access: Access, goal_id: int) -> Answer:
        return await self._read(access, f"goal-{goal_id}", f"/goals/{goal_id}")

    async def environments(self, access: Access, project_id: int) -> Answer:
        path = f"/projects/{project_id}/environments"
        return await self._read(access, f"environments-{project_id}", path)

    async def _read(self, access: Access, call: str, path: str) -> Answer:
        deadline = self._clock.monotonic() + self._budget
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._once(access, call, path)
            except TransientError as error:
                pause = self._retries.delay_after(attempt) or 0.0
                pause = max(pause, error.retry_after or 0.0)
                if self._clock.monotonic() + pause > deadline:
                    raise
                await self._clock.sleep(pause)

    async def _once(self, access: Access, call: str, path: str) -> Answer:
        with translated(SYSTEM):
            async with asyncio.timeout(self._timeout):
                response, body = await self._get(access, path)
        refused = REFUSED.get(response.status_code)
        if refused == "denied":
            return Answer(call, "denied", body)
        if refused == "missing":
            return Answer(call, "missing", body)
        checked(response, system=SYSTEM)
        return Answer(call, "ok", body, opened(body, response.headers.get("content-type", "")))

    async def _get(self, access: Access, path: str) -> tuple[httpx.Response, bytes]:
        """Head and body, which is given up as soon as it is too long."""
        url = access.api_url.rstrip("/") + path
        async with self._http.stream("GET", url, headers=_headers(access)) as response:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > self._max_bytes:
                    raise TooLarge(f"{SYSTEM} answers with more than {self._max_bytes} bytes")
            return response, bytes(body)


def _headers(access: Access) -> dict[str, str]:
    headers = {
        "authorization": f"Bearer {access.token.get_secret_value()}",
        "accept": "application/json",
    }
    if access.session_id is not None:
        headers["x-v-session-id"] = access.session_id.get_secret_value()
    return headers


def opened(body: bytes, content_type: str) -> Any:
    """The thing inside an answer: under `item`, under `items`, or the answer itself. Raises UnreadableAnswer."""
    try:
        value = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise UnreadableAnswer(f"{SYSTEM} answered 200 with no JSON ({content_type})") from None
    if isinstance(value, dict) and "success" in value:
        if value["success"] is not True:
            raise UnreadableAnswer(f"{SYSTEM} answered 200 and says that it did not succeed")
        value = value.get("item", value.get("items"))
    if not isinstance(value, dict | list):
        raise UnreadableAnswer(f"{SYSTEM} answered 200 with nothing in it")
    return value


def _no_number(name: str) -> Any:
    raise ValueError(name)
