"""What those who follow a run live are told of how far a step is: published at once, stored nowhere, may be missed."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from shared.clock import Clock
from shared.errors import CadenzaError
from shared.events.execution import ExecutionEvent
from shared.ids import derived_id
from shared.ports import EventPublisher
from shared.work.ports import Claim, first_sequence


class Progress:
    """Of one claimed run."""

    def __init__(self, claim: Claim, publisher: EventPublisher, clock: Clock) -> None:
        self._claim = claim
        self._publisher = publisher
        self._clock = clock
        self._number = first_sequence(claim.epoch)
        self._sending: set[asyncio.Task[None]] = set()

    def tell(self, step: Mapping[str, Any], told: Mapping[str, Any], *, sequence: int) -> None:
        """`step`: `step_id, step_name, attempt`; `sequence`: that of the run's last change."""
        self._number += 1
        event = ExecutionEvent(
            id=derived_id(self._claim.id, "progress", self._number),
            tenant=self._claim.tenant,
            occurred_at=self._clock.now(),
            type="step.progress",
            execution_id=self._claim.id,
            sequence=sequence,
            step_id=step["step_id"],
            step_name=step["step_name"],
            attempt=step["attempt"],
            data={**told, "chunk": self._number},
        )
        sending = asyncio.create_task(self._send(event))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    async def _send(self, event: ExecutionEvent) -> None:
        with suppress(CadenzaError):
            await self._publisher.publish(event)
