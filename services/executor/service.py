"""Use case: run what was claimed, steer what is running.

A plan that cannot be run ends its run as `failed(rejected)`; a run whose lease is lost is dropped without a word,
because its new owner has the word now.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import structlog

from services.executor import plans
from services.executor.errors import PlanUnavailable
from services.executor.folders import RunFolder
from services.executor.models import RunEnd
from services.executor.ports import Journal, Journals
from services.executor.run import Run
from services.executor.scope import RunParts, RunScope
from services.executor.sealing import NoEncryption, Sealing
from services.executor.secrecy import RunSecrecy
from shared.errors import InvalidRequest, StorageUnavailable
from shared.observability.tracing import span
from shared.plans.plan import Plan
from shared.plans.validation import validate_plan
from shared.security.encryption import DecryptionFailed
from shared.work.ports import Claim, LostLease

log = structlog.get_logger()


class Folders(Protocol):
    """Gives each run a folder of its own."""

    def folder_of(self, execution_id: str, epoch: int) -> Path: ...

    def remove(self, folder: Path) -> None: ...


class Executor:
    """Runs claims; knows which of them run here."""

    def __init__(self, *, journals: Journals, folders: Folders, parts: RunParts) -> None:
        self._journals = journals
        self._folders = folders
        self._parts = parts
        self._running: dict[str, Run] = {}

    async def run(self, claim: Claim) -> None:
        """Run a claimed plan to its end. Returns early, with nothing more written, when the lease is lost."""
        trace = claim.document.get("traceparent")
        with span("run", parent=trace, execution_id=claim.id, tenant=claim.tenant):
            try:
                journal = self._journals.of(claim)
                end = await self._perform(claim, journal)
                status = await journal.finish(end)
            except LostLease:
                log.warning("run.lost", execution_id=claim.id, epoch=claim.epoch)
                return
        log.info("run.finished", execution_id=claim.id, status=status, reason=end.reason)

    def cancel(self, execution_id: str, mark: Mapping[str, Any]) -> None:
        """Somebody wants a run to end; nothing happens when it does not run here."""
        if run := self._running.get(execution_id):
            run.cancel(mark)

    def is_running(self, execution_id: str) -> bool:
        """True while the run's steps run in this process."""
        return execution_id in self._running

    async def _perform(self, claim: Claim, journal: Journal) -> RunEnd:
        if self._has_expired(claim.document):
            return RunEnd("failed", "expired", "it was accepted too long ago to be started now")
        try:
            plan = await self._plan(claim.document)
        except InvalidRequest as error:
            return RunEnd("failed", "rejected", _first(error))
        except PlanUnavailable as error:
            return RunEnd("failed", error.code, error.message)
        uid = self._parts.users.lend()
        folder = RunFolder(self._folders.folder_of(claim.id, claim.epoch), uid=uid)
        scope = _scope(claim, plan, folder, self._parts)
        run = Run(scope, parts=self._parts, journal=journal)
        self._running[claim.id] = run
        if mark := claim.document.get("cancel"):
            run.cancel(mark)
        try:
            return await run.perform(started_at=claim.document["started_at"])
        except (StorageUnavailable, DecryptionFailed, NoEncryption) as error:
            return RunEnd("failed", error.code, error.message)
        finally:
            del self._running[claim.id]
            try:
                if folder.made:
                    await self._clear(scope)
            finally:
                self._parts.users.give_back(uid)

    def _has_expired(self, document: Mapping[str, Any]) -> bool:
        """Such a request may be a repetition of one whose run has long been removed. One that began in time goes on."""
        waited = document["started_at"] - document["accepted_at"]
        return bool(waited.total_seconds() > self._parts.expires_after)

    async def _clear(self, scope: RunScope) -> None:
        """Nothing of the run is left: no process, no file."""
        await self._parts.processes.end_run(scope.processes)
        if not scope.folder.remove_empty():
            # It may hold a million files; others do not wait for that.
            await asyncio.to_thread(self._folders.remove, scope.folder.root)

    async def _plan(self, document: Mapping[str, Any]) -> Plan:
        raw = document.get("plan")
        if raw is None and document.get("stored_plan"):
            raw = await plans.fetch(self._parts.objects, document["stored_plan"])
        if raw is None:
            raise PlanUnavailable
        return validate_plan(raw)


def _scope(claim: Claim, plan: Plan, folder: RunFolder, parts: RunParts) -> RunScope:
    return RunScope(
        execution_id=claim.id,
        tenant=claim.tenant,
        plan=plan,
        inputs=claim.document.get("inputs", {}),
        folder=folder,
        stop=asyncio.Event(),
        outputs={},
        sources=claim.document.get("sources") or (),
        sealing=Sealing(parts.cipher, claim.tenant, claim.id),
        secrecy=RunSecrecy(plan, claim.tenant, secrets=parts.secrets, variables=parts.variables),
    )


def _first(error: InvalidRequest) -> str:
    if not error.errors:
        return error.message
    first = error.errors[0]
    more = f" (and {len(error.errors) - 1} more)" if len(error.errors) > 1 else ""
    return f"{first.field}: {first.message}{more}"
