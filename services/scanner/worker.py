"""One claimed scan from its claim to its end in the queue. `shared.work.runner` claims, renews and gives back.

A scan that somebody cancelled ends `cancelled` with what it has found. An outage of the database is waited for under
the lease; whoever lost the lease meanwhile is cancelled and writes nothing more. Scopes that a former owner has dealt
with are not looked at again.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from services.scanner.events import order_of, recorded, totals
from services.scanner.models import ScopeResult
from services.scanner.ports import Scans
from services.scanner.service import ScanService
from shared import crash
from shared.clock import Clock
from shared.errors import BrokerUnavailable, StorageUnavailable
from shared.observability.tracing import span
from shared.work.ports import Claim, FinalStatus, LostLease, Work
from shared.work.runner import INTERNAL_ERROR

Verdict = tuple[FinalStatus, str | None]
"""How a scan ends, and the reason as people read it."""

log = structlog.get_logger(__name__)


class Worker:
    """Runs claims for a `WorkLoop`."""

    def __init__(
        self,
        *,
        work: Work,
        scans: Scans,
        service: ScanService,
        clock: Clock,
        pause_seconds: float = 1.0,
    ) -> None:
        """`pause_seconds` lie between two tries while the database is away."""
        self._work = work
        self._scans = scans
        self._service = service
        self._clock = clock
        self._pause_seconds = pause_seconds
        self._running: dict[str, asyncio.Task[None]] = {}
        self._cancelled: set[str] = set()

    async def run(self, claim: Claim) -> None:
        """Look at everything that is not done yet, and end the item. Raises LostLease."""
        trace = claim.document.get("traceparent")
        with span("scan", parent=trace, scan_id=claim.id, tenant=claim.tenant):
            log.info("scan.started", scan_id=claim.id, epoch=claim.epoch)
            results = recorded(claim.document)
            task = asyncio.create_task(self._scan(claim, results), name=f"scan {claim.id}")
            self._running[claim.id] = task
            try:
                status, reason = await self._verdict(claim.id, task, results)
                await self._end(claim, status, reason, results)
            finally:
                task.cancel()
                self._cancelled.discard(claim.id)
                if self._running.get(claim.id) is task:
                    del self._running[claim.id]

    def cancel(self, id: str, mark: Mapping[str, Any]) -> None:
        """Somebody wants it to end."""
        log.info("scan.cancelled", scan_id=id, by=mark.get("by"))
        if id in self._running:
            self._cancelled.add(id)
            self._running[id].cancel()

    async def _scan(self, claim: Claim, results: list[ScopeResult]) -> None:
        """Put what is found to `results`, again and again while the database is away."""

        async def record(result: ScopeResult) -> None:
            results.append(result)  # before it is stored, for that cannot be taken back any more
            await self._scans.record(claim, result, at=self._clock.now())
            crash.point("scan.after_record")

        while True:
            done = {one.scope for one in results}
            try:
                await self._service.scan(order_of(claim.document), done=done, record=record)
            except (StorageUnavailable, BrokerUnavailable) as error:
                log.warning("scan.waits", scan_id=claim.id, error=error.code)
                await self._clock.sleep(self._pause_seconds)
            else:
                return

    async def _verdict(
        self, id_: str, task: asyncio.Task[None], results: Sequence[ScopeResult]
    ) -> Verdict:
        try:
            await task
        except asyncio.CancelledError:
            if id_ not in self._cancelled:
                raise
            return "cancelled", "cancelled"
        except LostLease:
            raise
        except Exception:
            log.exception("scan.broke", scan_id=id_)
            return "failed", INTERNAL_ERROR
        return verdict(results)

    async def _end(
        self, claim: Claim, status: FinalStatus, reason: str | None, results: Sequence[ScopeResult]
    ) -> None:
        sums = totals(results)
        written = await self._work.finish(claim, status, reason=reason, fields=sums, data=sums)
        log.info("scan.finished", scan_id=claim.id, status=written, reason=reason)


def verdict(results: Sequence[ScopeResult]) -> Verdict:
    """A scan has failed when nothing could be looked at; else what went wrong stands in the reason."""
    if not results:
        return "failed", "no account is configured for this tenant"
    by_status = {
        status: sum(1 for one in results if one.status == status)
        for status in ("completed", "failed", "skipped")
    }
    told = ", ".join(
        f"{by_status[status]} {status}" for status in ("failed", "skipped") if by_status[status]
    )
    if not by_status["completed"]:
        return "failed", f"nothing could be looked at: {told}"
    return "completed", f"{told} of {len(results)} scopes" if told else None
