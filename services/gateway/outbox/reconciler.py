"""Makes sure that every published run request became an execution.

A request is published once more only when its consumer group has committed past it and there is still no execution: the
group's position is read first, the executions after it. One that lies among the dead letters is not published again: it
counts as rejected, for the letter's reason. So does one after a few vain publications. Its caller can read so.
"""

from collections.abc import Sequence
from datetime import timedelta

import structlog

from services.gateway.models import Accepted, Publication
from services.gateway.ports import AcceptedEvents, DeadLetters, Executions, GroupProgress
from services.gateway.settings import GatewayGroup
from shared import crash
from shared.clock import Clock
from shared.events.run import RunRequested
from shared.observability.instruments import REQUESTS_REJECTED, REQUESTS_REPEATED

GROUP = "executor"
BATCH = 1_000

log = structlog.get_logger(__name__)


class Reconciler:
    """One turn looks at one batch of published run requests."""

    def __init__(
        self,
        accepted: AcceptedEvents,
        executions: Executions,
        progress: GroupProgress,
        dead_letters: DeadLetters,
        settings: GatewayGroup,
        *,
        clock: Clock,
    ) -> None:
        self._accepted = accepted
        self._executions = executions
        self._progress = progress
        self._dead_letters = dead_letters
        self._clock = clock
        self._after = timedelta(seconds=settings.reconcile_after_seconds)
        self._max_republished = settings.max_republished

    async def turn(self) -> bool:
        """True when a whole batch could be settled, so that more may wait."""
        requests = await self._accepted.unsettled(self._clock.now() - self._after, BATCH)
        if not requests:
            return False
        missing = await self._without_execution(requests)
        missing_ids = {one.id for one in missing}
        crash.point("reconciler.before_settle")
        await self._accepted.settle([one.id for one in requests if one.id not in missing_ids])
        crash.point("reconciler.settled")
        if missing:
            await self._repeat(await self._passed_over(missing))
        return len(requests) == BATCH and not missing

    async def _passed_over(self, candidates: Sequence[Accepted]) -> list[Accepted]:
        """Those that the group has read and made nothing of."""
        committed = await self._progress.committed(GROUP, RunRequested.topic)
        read = [
            one
            for one in candidates
            if one.partition is not None
            and one.offset is not None
            and committed.get(one.partition, 0) > one.offset
        ]
        return await self._without_execution(read)

    async def _without_execution(self, requests: Sequence[Accepted]) -> list[Accepted]:
        there = await self._executions.existing([one.id for one in requests])
        return [one for one in requests if one.id not in there]

    async def _repeat(self, passed_over: Sequence[Accepted]) -> None:
        lost = await self._without_letter(passed_over)
        again = [one.id for one in lost if one.republished < self._max_republished]
        given_up = [one.id for one in lost if one.republished >= self._max_republished]
        if again:
            log.warning("reconciler.published_again", count=len(again), ids=again[:10])
            REQUESTS_REPEATED.add(len(again))
            crash.point("reconciler.before_reopen")
            await self._accepted.reopen(again)
            crash.point("reconciler.reopened")
        if given_up:
            log.error("reconciler.given_up", count=len(given_up), ids=given_up[:10])
            reason = "the executor read the request and made no execution of it"
            REQUESTS_REJECTED.add(len(given_up))
            marks = [Publication(one, rejected=reason) for one in given_up]
            await self._accepted.mark(marks, self._clock.now())

    async def _without_letter(self, requests: Sequence[Accepted]) -> list[Accepted]:
        """Reject those that lie among the dead letters. A letter that only has the same key is somebody else's."""
        if not requests:
            return []
        since = min(one.accepted_at for one in requests)
        keys = {one.key for one in requests}
        buried = await self._dead_letters.of_keys(RunRequested.topic, keys, since=since)
        why = {(letter.key, letter.body): letter.why for letter in buried}
        marks = []
        for one in requests:
            if any(key == one.key for key, _ in why):
                sent = await self._accepted.find(one.tenant, one.topic, one.id)
                if sent is not None and (reason := why.get((one.key, sent.body))) is not None:
                    marks.append(Publication(one.id, rejected=reason))
        if marks:
            log.error("reconciler.dead_lettered", count=len(marks), ids=[m.id for m in marks[:10]])
            REQUESTS_REJECTED.add(len(marks))
            await self._accepted.mark(marks, self._clock.now())
        rejected = {mark.id for mark in marks}
        return [one for one in requests if one.id not in rejected]
