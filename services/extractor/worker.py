"""One claimed extraction from its claim to its end in the queue. `shared.work.runner` claims, renews and gives back.

Whoever lost an item is cancelled and writes nothing more to the queue; what a write in flight still does to the lake is
guarded there by etags.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from services.extractor.models import Outcome
from services.extractor.ports import Extractions
from services.extractor.service import Extractor
from shared import crash
from shared.work.ports import Claim, FinalStatus, Work

ENDS: dict[str, FinalStatus] = {
    "completed": "completed",
    "unchanged": "completed",
    "cancelled": "cancelled",
}
"""The queue's word for an outcome; `failed` for the others."""
KEPT = ("revision", "version", "sha256", "raw_sha256", "key", "size_bytes", "date", "objects")
COUNTS = ("passed", "failed", "skipped")

log = structlog.get_logger(__name__)


class Worker:
    """Runs claims for a `WorkLoop`."""

    def __init__(
        self,
        *,
        work: Work,
        extractor: Extractor,
        extractions: Extractions,
        stored: Callable[[str, str], None],
    ) -> None:
        """`stored` is told tenant and customer of each execution that came into the lake."""
        self._work = work
        self._extractor = extractor
        self._extractions = extractions
        self._stored = stored
        self._running: dict[str, asyncio.Task[Outcome]] = {}
        self._cancelled: set[str] = set()

    async def run(self, claim: Claim) -> None:
        """Extract and end the item; queue it again when it was asked for meanwhile."""
        task = asyncio.create_task(self._extractor.extract(claim.document))
        self._running[claim.id] = task
        try:
            outcome = await self._outcome(claim.id, task)
            crash.point("extract.before_finish")
            await self._end(claim, outcome)
        finally:
            task.cancel()
            self._cancelled.discard(claim.id)
            if self._running.get(claim.id) is task:
                del self._running[claim.id]
        crash.point("extract.before_reopen")
        await self._extractions.reopen(claim.id)
        crash.point("extract.after_reopen")

    def cancel(self, id: str, mark: Mapping[str, Any]) -> None:
        """Somebody wants it to end."""
        log.info("extractor.cancelled", extraction=id, by=mark.get("by"))
        if id in self._running:
            self._cancelled.add(id)
            self._running[id].cancel()

    async def _outcome(self, id_: str, task: asyncio.Task[Outcome]) -> Outcome:
        try:
            return await task
        except asyncio.CancelledError:
            if id_ not in self._cancelled:
                raise
            return Outcome("cancelled", reason="cancelled")

    async def _end(self, claim: Claim, outcome: Outcome) -> None:
        told: dict[str, Any] = {"outcome": outcome.status}
        fields = dict(told)
        if outcome.row:
            fields |= {name: outcome.row[name] for name in KEPT}
            fields |= {"location": outcome.location}
            fields["results"] = {name: outcome.row[name] for name in COUNTS}
            told |= {name: fields[name] for name in ("version", "location", "size_bytes")}
        written = await self._work.finish(
            claim,
            ENDS.get(outcome.status, "failed"),
            reason=outcome.reason,
            error=outcome.detail,
            fields=fields,
            data=told,
        )
        if outcome.row:
            self._stored(claim.tenant, claim.document["customer"])
        ended = "cancelled" if written == "cancelled" else outcome.status
        log.info("extractor.ended", extraction=claim.id, outcome=ended, reason=outcome.reason)
