"""Virtuoso through our proxy's pass-through (`/api/*`), for each tenant with the tenant's own key.

Only the proxy knows Virtuoso's credential, and it turns login pages and redirects into errors; what is left to do here
is to take the envelope off and to read.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

from services.executor.clients.answers import JsonService
from services.executor.commands.reach import JobState, VirtuosoGoal
from services.executor.reach_settings import ReachSettings
from shared.errors import UpstreamInvalid

SYSTEM = "Virtuoso"
CANCELLED = ("CANCELED", "CANCELLED", "ABORTED", "TERMINATED")
"""Not attested; nothing else that a run that was stopped could say would be one of ours."""


class ProxyClient:
    """Implements `VirtuosoRunner`."""

    def __init__(self, settings: ReachSettings, key: SecretStr) -> None:
        self.name = "proxy-client"
        self.ui = str(settings.virtuoso_ui_url).rstrip("/")
        self._service = JsonService(
            SYSTEM,
            str(settings.proxy_url),
            headers={"x-api-key": key.get_secret_value()},
            timeout=settings.upstream_timeout_seconds,
            max_bytes=settings.upstream_max_answer_bytes,
        )

    async def start(self) -> None:
        """Nothing to do: connections are opened when they are needed."""

    async def stop(self) -> None:
        await self._service.close()

    async def goal(self, goal: int) -> VirtuosoGoal:
        fields = await self._item("GET", f"/goals/{goal}")
        snapshot = fields.get("latestSnapshotId") or fields.get("snapshotId")
        if snapshot is None:
            versions = await self._item("GET", f"/goals/{goal}/versions")
            found = versions.get("snapshots") or [{}]
            snapshot = found[0].get("snapshotId") if isinstance(found[0], dict) else None
        project = fields.get("projectId")
        return VirtuosoGoal(
            project=None if project is None else _number(project, "the goal's project"),
            snapshot=_number(snapshot, "the goal's newest version"),
        )

    async def execute(self, goal: int, snapshot: int, body: Mapping[str, Any]) -> int:
        path = f"/goals/{goal}/snapshots/{snapshot}/execute"
        answer = await self._item("POST", path, body)
        return _number(answer.get("id", answer.get("jobId")), "the execution's id")

    async def status(self, execution: int) -> JobState:
        fields = await self._item("GET", f"/executions/{execution}/status")
        status = fields.get("status")
        if not isinstance(status, str):
            raise UpstreamInvalid(f"{SYSTEM} gives no status of the execution")
        progress = fields.get("progress")
        number = isinstance(progress, int | float) and not isinstance(progress, bool)
        percent = 100 * float(progress) if number and progress is not None else None
        if status in CANCELLED:
            return JobState("cancelled", message=status)
        if status == "FINISHED":
            return JobState("completed")
        return JobState("running", progress=percent)

    async def execution(self, execution: int) -> Mapping[str, Any]:
        return await self._item("GET", f"/executions/{execution}")

    async def journey(self, journey: int) -> Mapping[str, Any]:
        return await self._item("GET", f"/testsuites/{journey}?envelope=false")

    async def _item(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        answer = await self._service.call(method, f"/api{path}", body=body)
        if isinstance(answer, dict) and "success" in answer:
            if answer["success"] is not True:
                raise UpstreamInvalid(f"{SYSTEM} answered with a success that is none")
            answer = answer.get("item")
        if not isinstance(answer, dict):
            raise UpstreamInvalid(f"{SYSTEM} answered with nothing in it")
        return answer


def _number(value: Any, what: str) -> int:
    """Ids are numbers, though some answers spell them as text."""
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**53:
        raise UpstreamInvalid(f"{SYSTEM} does not tell {what}")
    return value
