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
from services.executor.models import RunEnd, RunWait
from services.executor.ports import Journal, Journals
from services.executor.run import Run
from services.executor.scope import RunParts, RunScope
from services.executor.sealing import NoEncryption, Sealing
from services.executor.secrecy import RunSecrecy
from shared.errors import InvalidRequest, StorageUnavailable
from shared.objects.ports import ObjectMissing
from shared.observability.tracing import span
from shared.plans.plan import Plan
from shared.plans.rows import steps_of
from shared.plans.validation import validate_plan
from shared.security.encryption import DecryptionFailed
from shared.work.ports import Claim, LostLease

ONLY_ROWS: Mapping[str, Any] = {"data": []}
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
                if isinstance(end, RunWait):
                    status = await journal.wait(end)
                    log.info("run.put_aside", execution_id=claim.id, status=status)
                    return
                status = await journal.finish(end)
                if self._parts.family is not None:
                    await self._parts.family.ended(claim.document)
            except LostLease:
                log.warning("run.lost", execution_id=claim.id, epoch=claim.epoch)
                return
        log.info("run.finished", execution_id=claim.id, status=status, reason=end.reason)

    def cancel(self, execution_id: str, mark: Mapping[str, Any]) -> None:
        """Somebody wants a run to end; nothing happens when it does not run here."""
        if run := self._running.get(execution_id):
            run.cancel(mark)

    def below(self, execution_id: str) -> list[str]:
        """Runs in this process that are descendants of an execution."""
        return [id_ for id_, run in self._running.items() if run.belongs_to(execution_id)]

    def is_running(self, execution_id: str) -> bool:
        """True while the run's steps run in this process."""
        return execution_id in self._running

    async def _perform(self, claim: Claim, journal: Journal) -> RunEnd | RunWait:
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
            waited = (claim.document.get("waited_ms") or 0) / 1000
            return await run.perform(started_at=claim.document["started_at"], waited=waited)
        except (StorageUnavailable, DecryptionFailed, NoEncryption) as error:
            return RunEnd("failed", error.code, error.message)
        except ObjectMissing:
            return RunEnd("failed", "output_gone", "a recorded output of a step is no longer kept")
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
        if not await self._parts.folder_work.do(scope.folder.remove_empty):
            # It may hold a million files; others do not wait for that.
            await asyncio.to_thread(self._folders.remove, scope.folder.root)

    async def _plan(self, document: Mapping[str, Any]) -> Plan:
        if unusable := document.get("unusable"):
            raise InvalidRequest(unusable)
        raw = document.get("plan")
        if raw is None and document.get("stored_plan"):
            raw = await plans.fetch(self._parts.objects, document["stored_plan"])
        if raw is None:
            raise PlanUnavailable
        return validate_plan(raw, row=document.get("row"))


def _for_all_rows(plan: Plan) -> Plan:
    """What the execution of a plan with rows runs: one step that stands for all of them. It resolves the sources, so
    that all lanes have the same files.
    """
    raw = {"name": plan.name, "timeout_seconds": plan.timeout_seconds, "steps": steps_of(ONLY_ROWS)}
    kept = {"inputs": plan.inputs, "sources": plan.sources}
    return Plan.model_validate(raw).model_copy(update=kept)


def _scope(claim: Claim, plan: Plan, folder: RunFolder, parts: RunParts) -> RunScope:
    asked = plan if plan.data is not None or plan.matrix is not None else None
    plan = plan if asked is None else _for_all_rows(plan)
    return RunScope(
        execution_id=claim.id,
        tenant=claim.tenant,
        plan=plan,
        inputs=claim.document.get("inputs", {}),
        folder=folder,
        stop=asyncio.Event(),
        outputs={},
        sources=list(claim.document.get("sources") or ()),
        sealing=Sealing(parts.cipher, claim.tenant, claim.id),
        secrecy=RunSecrecy(plan, claim.tenant, secrets=parts.secrets, variables=parts.variables),
        claimed=claim.document,
        asked=asked,
    )


def _first(error: InvalidRequest) -> str:
    if not error.errors:
        return error.message
    first = error.errors[0]
    more = f" (and {len(error.errors) - 1} more)" if len(error.errors) > 1 else ""
    return f"{first.field}: {first.message}{more}"
