"""7PS over HTTP: `POST /execute`, `GET /status/{id}`, `GET /results/{id}`."""

import re
from collections.abc import Mapping
from typing import Any

from services.executor.clients.answers import JsonService
from services.executor.commands.reach import JobState, JobStatus
from services.executor.reach_settings import ReachSettings
from shared.errors import UpstreamInvalid

SYSTEM = "7PS"
_STATUSES: Mapping[str, JobStatus] = {
    "pending": "pending",
    "running": "running",
    "completed": "completed",
    "failed": "failed",
}
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:\-]{0,127}")
"""Safe as a part of an address and of a wake key."""


class SevenPsClient:
    """Implements `SevenPs`."""

    name = "seven-ps-client"

    def __init__(self, settings: ReachSettings) -> None:
        token = settings.seven_ps_token.get_secret_value()
        self._callback = (
            str(settings.seven_ps_callback_url) if settings.seven_ps_callback_url else None
        )
        self._service = JsonService(
            SYSTEM,
            str(settings.seven_ps_url),
            headers={"authorization": f"Bearer {token}"} if token else {},
            timeout=settings.upstream_timeout_seconds,
            max_bytes=settings.upstream_max_answer_bytes,
        )

    async def start(self) -> None:
        """Nothing to do: connections are opened when they are needed."""

    async def stop(self) -> None:
        await self._service.close()

    async def execute(self, request: Mapping[str, Any], *, key: str) -> str:
        body = dict(request)
        if self._callback:
            body["callbackUrl"] = self._callback
        answer = await self._service.call(
            "POST", "/execute", body=body, headers={"idempotency-key": key}
        )
        found = answer.get("executionId") if isinstance(answer, dict) else None
        if isinstance(found, int) and not isinstance(found, bool):
            found = str(found)
        if not isinstance(found, str) or not _ID.fullmatch(found):
            raise UpstreamInvalid(f"{SYSTEM} started something and names no executionId")
        return found

    async def status(self, job: str) -> JobState:
        answer = await self._service.call("GET", f"/status/{job}")
        fields = answer if isinstance(answer, dict) else {}
        status = _STATUSES.get(str(fields.get("status")).lower())
        if status is None:
            raise UpstreamInvalid(f"{SYSTEM} gives the status of a job in a way that is not known")
        progress, message = fields.get("progress"), fields.get("message")
        number = isinstance(progress, int | float) and not isinstance(progress, bool)
        return JobState(
            status,
            message=message if isinstance(message, str) and message else None,
            progress=float(progress) if number and progress is not None else None,
        )

    async def results(self, job: str) -> Any:
        return await self._service.call("GET", f"/results/{job}")
