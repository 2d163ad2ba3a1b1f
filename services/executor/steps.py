"""One step of a run: its tries, its data, its output, its artifacts.

A try that failed or timed out is followed by another as the plan's `retry` says, unless the run is being stopped.
A try that suspends itself, and a wait for the next one, are pauses: while all of a run's steps pause for long the run
is put aside, and its next owner goes on.
"""

import asyncio
import errno
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from services.executor.artifacts import (
    MAX_COMPLAINTS,
    ArtifactKeeper,
    Found,
    complaint,
    find,
    take,
    unmatched,
)
from services.executor.commands.base import CommandContext, Outcome
from services.executor.commands.children import ChildRuns
from services.executor.commands.outcome import failed
from services.executor.folders import TryFolder
from services.executor.logs import StepLog
from services.executor.models import Artifact, Sample, StepEnd, StepMemory, StepRecord
from services.executor.pauses import Pause, Place
from services.executor.planning.data import resolve_step
from services.executor.planning.retries import delay_before_retry
from services.executor.ports import Journal
from services.executor.processes.environment import EXECUTION_ID, build_environment
from services.executor.processes.model import Sample as ProcessSample
from services.executor.processes.narrowing import narrowed, not_granted
from services.executor.reports import CLOCK_SECONDS, Reports, confirmed
from services.executor.scope import RunParts, RunScope
from services.executor.sealing import Sealed
from services.executor.strays import NOT_ALONE, Visit
from services.executor.suspending import Suspending
from shared.errors import CadenzaError, Conflict, InvalidRequest
from shared.observability.instruments import STEPS
from shared.plans.plan import Step
from shared.security.redaction import Redactor

log = structlog.get_logger()


class StepRun:
    """Performs one step and says how it ended."""

    def __init__(
        self, step: Step, step_id: int, *, scope: RunScope, parts: RunParts, journal: Journal
    ) -> None:
        self._step = step
        self._id = step_id
        self._scope = scope
        self._parts = parts
        self._journal = journal

    async def perform(self, record: StepRecord | None = None) -> StepEnd:
        """Run the step to its end and record it; `record` is what former owners have left of it."""
        tries, memory = (record.tries, record.memory) if record else (0, None)
        if record is not None and record.retry_at is not None:
            await self._pause((record.retry_at - self._parts.clock.now()).total_seconds())
        number = 0
        while True:
            number += 1
            attempt = self._journal.attempt(number)
            if memory is not None and record is not None and record.attempt is not None:
                attempt = record.attempt  # it goes on
            async with Place(self._parts.room, self._scope.stop) as place:
                if memory is None:
                    if self._scope.stop.is_set():
                        return await self._ended(None, StepEnd("skipped", "run_stopped"))
                    await self._journal.step_started(
                        self._id, attempt, durable=not self._step.idempotent
                    )
                begun = time.monotonic()
                end = await self._try(attempt, place, memory)
                memory = None
                STEPS.record(time.monotonic() - begun, self._command_type(), end.status)
            end = replace(end, retry_count=number - 1)
            delay = self._delay(end, tries + number)
            if delay is None:
                return await self._ended(attempt, end)
            long = delay > self._parts.rest_after
            await self._journal.step_retrying(self._id, attempt, end, delay, durable=long)
            await self._pause(delay)
            if self._scope.stop.is_set():
                return await self._ended(attempt, end)

    def _command_type(self) -> str:
        """As the plan names it, when there is such a type."""
        named = str(self._step.command.get("type"))
        return named if named in self._parts.commands else "unknown"

    async def _ended(self, attempt: str | None, end: StepEnd) -> StepEnd:
        if end.status == "cancelled":
            end = replace(end, reason=self._scope.cut)
        await self._journal.step_finished(self._id, attempt, end)
        return end

    def _delay(self, end: StepEnd, tries: int) -> float | None:
        return None if self._scope.stop.is_set() else delay_before_retry(self._step, end, tries)

    async def _pause(self, delay: float) -> None:
        if delay > 0:
            pause = Pause(self._step.name, until=time.monotonic() + delay)
            await self._scope.pauses.take(pause, stop=self._scope.stop)

    async def _try(self, attempt: str, place: Place, memory: StepMemory | None) -> StepEnd:
        try:
            folder = self._scope.folder.of_try(self._id, attempt)
            output = StepLog(
                self._journal,
                self._parts.clock,
                step_id=self._id,
                step_name=self._step.name,
                attempt=attempt,
                spool=folder.log,
                spool_after=self._parts.inline_output,
            )
            suspending = Suspending(
                self._id,
                self._step,
                attempt,
                scope=self._scope,
                parts=self._parts,
                journal=self._journal,
                place=place,
                output=output,
                memory=memory,
            )
            return await self._run_command(output, folder, attempt, suspending)
        except CadenzaError as error:
            return StepEnd("failed", error.code, error.message)
        except OSError as error:
            reason = "disk_full" if error.errno == errno.ENOSPC else "workspace_failed"
            where = f": {error.filename}" if error.filename else ""
            return StepEnd("failed", reason, f"{error.strerror}{where}")

    async def _run_command(
        self, output: StepLog, folder: TryFolder, attempt: str, suspending: Suspending
    ) -> StepEnd:
        scope = self._scope
        scope.sealing.check(self._step)
        known = await scope.secrecy.of(self._step)
        resolved = resolve_step(
            scope.plan,
            self._step,
            inputs=scope.inputs,
            outputs=scope.outputs,
            secrets=known.secrets,
            variables=known.variables,
            row=scope.claimed.get("row"),
        )
        redactor = known.redactor
        command = self._parts.commands.get(str(resolved.command.get("type")))
        begun = time.time()
        if command.uses_files and not scope.folder.is_made(folder):
            await self._parts.folder_work.do(lambda: scope.folder.make(folder))
        context = self._context(
            output, folder, redactor=redactor, env=resolved.env, attempt=attempt
        )
        context = suspending.prepare(context, patient=command.patient)
        visit = Visit(scope.strays, self._parts.processes)
        for sentence in not_granted(self._parts.limits, self._step.limits):
            await output.emit("system", f"{sentence}\n")
        try:
            outcome = await suspending.see_through(
                command, resolved.command, replace(context, processes=visit)
            )
        except (CadenzaError, OSError, asyncio.CancelledError):
            visit.end()
            raise
        except Exception as error:
            log.exception("step.crashed", execution_id=self._scope.execution_id, step_id=self._id)
            outcome = failed("internal_error", f"the command type failed: {type(error).__name__}")
        keeper = self._keeper(suspending.place_of_files)
        if self._step.artifacts or self._step.reports:
            await self._warn_of_missing_files(output, folder)
        strays = await self._strays(visit, begun, output, redactor)
        reports = await self._keep_files(keeper, folder, output, redactor, strays)
        counted = Reports(self._journal, step_id=self._id, attempt=attempt, since=begun)
        results = await counted.count(reports, output, redactor, told=outcome.cases)
        spooled = await output.close()
        if spooled is not None:
            await self._keep_log(keeper, spooled)
        sealed = self._seal(resolved.input, outcome.outputs)
        stored = await self._keep_output(keeper, sealed.output)
        scope.outputs[self._step.name] = outcome.outputs
        return replace(self._end(outcome, stored, sealed), results=results)

    def _seal(self, step_input: Mapping[str, Any], output: Mapping[str, Any]) -> Sealed:
        """What may be stored: encrypted fields as envelopes, and their values nowhere else."""
        scope = self._scope
        sealed = scope.sealing.seal(self._step, self._id, input=step_input, output=output)
        scope.secrecy.hide(sealed.values)
        return scope.secrecy.without_hidden(sealed)

    def _end(self, outcome: Outcome, stored: Artifact | None, sealed: Sealed) -> StepEnd:
        output = sealed.output
        if stored is not None:
            output = {"artifact": {"uri": stored.uri, "size_bytes": stored.size}}
        return StepEnd(
            status=outcome.status,
            reason=outcome.reason,
            error=outcome.error,
            exit_code=outcome.exit_code,
            signal=outcome.signal,
            input=sealed.input,
            output=output,
            output_uri=stored.uri if stored else None,
            truncated=outcome.truncated,
            memory_usage_mb=outcome.peak_memory_mb,
            cpu_usage_percent=outcome.mean_cpu_percent,
            encrypted_fields=sealed.fields,
        )

    def _context(
        self,
        output: StepLog,
        folder: TryFolder,
        *,
        redactor: Redactor,
        env: Mapping[str, str],
        attempt: str,
    ) -> CommandContext:
        return CommandContext(
            working_dir=self._scope.folder.working_dir,
            env=build_environment(
                self._parts.inherited,
                working_dir=self._scope.folder.working_dir,
                declared=env,
                platform={
                    EXECUTION_ID: self._scope.execution_id,
                    "CADENZA_STEP": self._step.name,
                    "CADENZA_ATTEMPT": attempt,
                },
                output_file=folder.outputs,
                artifacts_dir=folder.artifacts,
                owner=self._parts.owner,
            ),
            emit=output.emit,
            processes=self._parts.processes,
            cancel=self._scope.stop,
            run=self._scope.processes,
            uid=self._scope.folder.uid,
            redactor=redactor,
            artifacts_dir=folder.artifacts,
            output_file=folder.outputs,
            limits=narrowed(self._parts.limits, self._step.limits),
            on_sample=self._sample,
            reach=self._parts.reach,
            tenant=self._scope.tenant,
            key=f"{self._scope.execution_id}/{self._id}",
            attempt=attempt,
            children=self._children(),
            repeatable=self._step.idempotent,
        )

    def _children(self) -> ChildRuns | None:
        family, scope = self._parts.family, self._scope
        if family is None:
            return None
        return family.of(scope.parent, scope.asked or scope.plan, self._id)

    async def _sample(self, sample: ProcessSample) -> None:
        await self._journal.sample(
            Sample(
                step_id=self._id,
                at=sample.at,
                memory_usage_mb=sample.memory_usage_mb,
                cpu_usage_percent=sample.cpu_usage_percent,
                network_bytes_sent=sample.network_bytes_sent,
                network_bytes_received=sample.network_bytes_received,
                active_threads=sample.active_threads,
            )
        )

    async def _warn_of_missing_files(self, output: StepLog, folder: TryFolder) -> None:
        here, reports = self._scope.folder.working_dir, self._step.reports
        paths = [rule.path for rule in self._step.artifacts]
        for path in await asyncio.to_thread(unmatched, paths, here) if paths else ():
            await output.emit("system", f"artifact '{path}' matches no file\n")
        folders = (here, folder.artifacts)
        for path in await asyncio.to_thread(unmatched, reports, *folders) if reports else ():
            await output.emit("system", f"report '{path}' matches no file\n")

    def _keeper(self, attempt: str) -> ArtifactKeeper:
        scope = self._scope
        prefix = f"{scope.tenant}/artifacts/{scope.execution_id}/{self._id}/{attempt}"
        return ArtifactKeeper(self._parts.objects, prefix=prefix, step_id=self._id)

    async def _strays(
        self, visit: Visit, begun: float, output: StepLog, redactor: Redactor
    ) -> list[Path]:
        """Reports in the working directory, where the step names none. Ends the visit."""
        here, found = self._scope.folder.working_dir, list[Path]()
        if not self._step.reports and visit.may_find(here):
            found = await asyncio.to_thread(visit.find, here, since=begun - CLOCK_SECONDS)
        visit.end()
        if visit.alone:
            return found
        for path in found[:MAX_COMPLAINTS]:
            name = json.dumps(redactor.redact(path.relative_to(here).as_posix()))
            await output.emit("system", f"report {name} is not counted: {NOT_ALONE}\n")
        return []

    async def _keep_files(
        self,
        keeper: ArtifactKeeper,
        folder: TryFolder,
        output: StepLog,
        redactor: Redactor,
        strays: Sequence[Path],
    ) -> list[Found]:
        """Keep what the command left; what cannot be kept is said in the log. Returns the reports among it."""
        run, wanted = self._scope.folder, self._step.artifacts or self._step.reports or strays
        if not (run.holds_artifacts(folder) or (wanted and run.made)):
            return []
        # A command may leave a million files, and looking through them must not hold up the other runs.
        findings = await asyncio.to_thread(
            find,
            self._step.artifacts,
            run.working_dir,
            folder.artifacts,
            max_bytes=self._parts.max_artifacts,
            reports=self._step.reports,
            strays=strays,
        )
        if self._scope.folder.uid is not None:
            findings = await asyncio.to_thread(take, findings, folder.taken, self._scope.folder.uid)
        complaints = [redactor.redact(sentence) for sentence in findings.complaints]
        files = findings.files
        if any(file.guessed for file in files):
            files = await asyncio.to_thread(confirmed, files)
        for file in files:
            name = redactor.redact(file.name)
            try:
                artifact = await keeper.keep(replace(file, name=name))
            except (InvalidRequest, Conflict) as error:
                complaints.append(complaint(name, error.message))
                continue
            await self._journal.artifact(artifact)
        for sentence in complaints[:MAX_COMPLAINTS]:
            await output.emit("system", f"{sentence}\n")
        if (more := len(complaints) - MAX_COMPLAINTS) > 0:
            await output.emit("system", f"{more} more artifacts were not kept\n")
        return [file for file in files if file.report]

    async def _keep_log(self, keeper: ArtifactKeeper, spooled: Path) -> None:
        """A command may have put something else in the place of its log, or removed it: then the log has it all."""
        try:
            artifact = await keeper.keep_own(Found(spooled, "output.log", "log"))
        except (InvalidRequest, Conflict):
            return
        await self._journal.artifact(artifact)

    async def _keep_output(
        self, keeper: ArtifactKeeper, output: Mapping[str, Any]
    ) -> Artifact | None:
        """Where the output lies when it is too large for the step's document."""
        data = json.dumps(output, ensure_ascii=False).encode() if output else b""
        if len(data) <= self._parts.inline_output:
            return None
        artifact = await keeper.keep_bytes(
            "output.json", data, type="data", mime="application/json"
        )
        await self._journal.artifact(artifact)
        return artifact
