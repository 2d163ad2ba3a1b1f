"""What happens to a message that cannot be handled: retries, dead letters, and a limit on them.

An unreachable dependency (TransientError) is not an attempt: the message waits, without end, until it is back. An
unreadable message (InvalidMessage) goes to `<topic>.dlq` at once. A PermanentError goes there too; anything else is
tried a bounded number of times first. The last two count towards a limit per time window: above it nothing more is
dead-lettered, the message at hand is tried again every `probe_seconds`, and work goes on by itself when it succeeds or
the window has room, or when an operator resumes it. So a bad deployment cannot empty a topic into its dead letters.
The same pause holds while a dead letter itself is refused: passing over it would lose the message.
"""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar

import structlog
from pydantic import ValidationError

from shared import crash
from shared.clock import Clock, SystemClock
from shared.errors import CadenzaError, InvalidMessage, PermanentError, TransientError
from shared.events.base import Event
from shared.kafka.pausing import (
    TOO_MANY_FAILURES,
    UNWRITABLE,
    FailureWindow,
    MemoryFailureWindow,
    Pause,
)
from shared.kafka.records import Record, log_fields
from shared.kafka.topics import dead_letter_topic
from shared.observability.instruments import DEAD_LETTERS
from shared.retry import RetryPolicy

HANDLER_FAILED = "handler_failed"
DETAIL_LIMIT = 1_000
LEAVE_SECONDS = 1.0
OUTAGE = RetryPolicy(max_attempts=10**9, initial_delay=0.2, factor=2.0, max_delay=10.0)
"""Waiting for something that is away: capped, so that it is noticed soon when it is back."""
FAILURES = RetryPolicy(max_attempts=3, initial_delay=0.2, factor=3.0, max_delay=5.0)
"""Unexpected errors; bounded."""

ADVICE = {
    TOO_MANY_FAILURES: (
        "look at the newest letters (cadenza dlq list) and mend what they have in common; "
        "the consumer goes on by itself, or at once after cadenza dlq resume"
    ),
    UNWRITABLE: (
        "see that the .dlq topic exists (cadenza migrate), may be written and takes messages of this size; "
        "the consumer goes on by itself, or at once after cadenza dlq resume"
    ),
}
"""What to do about a pause, for the log."""

log = structlog.get_logger()
E = TypeVar("E", bound=Event)


def decode(record: Record, event_class: type[E]) -> E:
    """The event in a record; InvalidMessage says what is wrong without repeating the content."""
    if record.value is None:
        raise InvalidMessage("the message has no value")
    try:
        return event_class.model_validate_json(record.value)
    except ValidationError as error:
        raise InvalidMessage(problems(error)) from None


def problems(error: ValidationError) -> str:
    rows = error.errors(include_url=False, include_context=False, include_input=False)
    shown = "; ".join(
        f"{'.'.join(map(str, row['loc'])) or 'message'}: {row['msg']}" for row in rows[:5]
    )
    return shown if len(rows) <= 5 else f"{shown}; and {len(rows) - 5} more"


class RawPublisher(Protocol):
    """The part of `KafkaEventPublisher` that dead letters need."""

    async def send_raw(
        self, topic: str, key: bytes | None, value: bytes, headers: Mapping[str, str | bytes]
    ) -> tuple[int, int]: ...


class DeadLetters:
    """Puts messages on `<topic>.dlq`, with all that is needed to look into them and to send them again."""

    def __init__(self, publisher: RawPublisher, *, clock: Clock | None = None) -> None:
        self._publisher = publisher
        self._clock = clock or SystemClock()

    async def put(self, record: Record, *, reason: str, detail: str, attempts: int) -> None:
        """Durable when it returns; BrokerUnavailable otherwise. Key, value and original headers are kept."""
        headers: dict[str, str | bytes] = dict(record.headers)
        headers |= {
            "dlq-reason": reason,
            "dlq-detail": detail[:DETAIL_LIMIT],
            "dlq-origin-topic": record.topic,
            "dlq-origin-partition": str(record.partition),
            "dlq-origin-offset": str(record.offset),
            "dlq-attempts": str(attempts),
            "dlq-at": self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        topic = dead_letter_topic(record.topic)
        await self._publisher.send_raw(topic, record.key, record.value or b"", headers)
        crash.point("delivery.after_dead_letter")
        DEAD_LETTERS.add(1, record.topic, reason)
        log.warning("kafka.dead_lettered", reason=reason, attempts=attempts, **log_fields(record))


async def decode_batch(
    records: Sequence[Record], event_class: type[E], dead_letters: DeadLetters
) -> list[tuple[Record, E]]:
    """The readable ones with their events; the others are dead-lettered one by one."""
    readable: list[tuple[Record, E]] = []
    for record in records:
        try:
            readable.append((record, decode(record, event_class)))
        except InvalidMessage as error:
            await dead_letters.put(record, reason=error.code, detail=error.message, attempts=1)
    return readable


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """How often and how patiently. Delays in seconds."""

    failures: RetryPolicy = FAILURES
    outage: RetryPolicy = OUTAGE
    probe_seconds: float = 30.0


class Delivery:
    """Sees one record through: when `handle` returns, it was handled or is a dead letter."""

    def __init__(
        self,
        dead_letters: DeadLetters,
        *,
        policy: DeliveryPolicy | None = None,
        window: FailureWindow | None = None,
        report: Callable[[str | None], None] = lambda _problem: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Clock | None = None,
    ) -> None:
        self._dead_letters = dead_letters
        self._policy = policy or DeliveryPolicy()
        self._window = window or MemoryFailureWindow()
        self._report = report
        self._sleep = sleep
        self._clock = clock or SystemClock()
        self._pause: Pause | None = None

    async def handle(self, record: Record, handler: Callable[[], Awaitable[object]]) -> None:
        """Call `handler` until it succeeds or the record is a dead letter; only cancellation gets out."""
        try:
            await self._see_through(record, handler)
        except (
            asyncio.CancelledError
        ):  # this process stops; another one will pause here in its turn
            if self._pause is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LEAVE_SECONDS):
                        await self._quietly(self._window.resumed)
            raise
        await self._go_on()

    async def _see_through(self, record: Record, handler: Callable[[], Awaitable[object]]) -> None:
        attempts = 0
        while True:
            error = await self.through_outages(handler, **log_fields(record))
            if error is None:
                return None
            attempts += 1
            if isinstance(error, InvalidMessage):
                return await self._bury(record, error, attempts)
            delay = self._delay(error, attempts)
            if delay is not None:
                log.warning(
                    "kafka.handler_failed",
                    attempt=attempts,
                    **described(error),
                    **log_fields(record),
                )
                await self._sleep(delay)
            elif await self._has_room():
                await self._bury(record, error, attempts)
                await self.through_outages(self._window.add)
                return None
            else:
                await self._stand_still(record, TOO_MANY_FAILURES, error)

    async def through_outages(
        self, handler: Callable[[], Awaitable[object]], **about: object
    ) -> Exception | None:
        """Call `handler`, again and again while something it needs is away; returns any other error."""
        attempt = 0
        while True:
            try:
                await handler()
            except TransientError as error:
                attempt += 1
                await self._sit_out(error, attempt, **about)
            except Exception as error:  # noqa: BLE001 - the caller decides
                self._report_pause()
                return error
            else:
                self._report_pause()
                return None

    def _report_pause(self) -> None:
        """Nothing is away; a pause stays one through its probes, until its message is done with."""
        self._report(self._pause.sentence() if self._pause else None)

    async def _sit_out(self, error: TransientError, attempt: int, **about: object) -> None:
        """One pause of an outage."""
        delay = self._policy.outage.delay_after(attempt) or 0.0
        delay = max(delay, min(error.retry_after or 0.0, self._policy.outage.max_delay))
        self._report(f"waiting: {error.code}")
        log.warning("kafka.waiting_for_dependency", code=error.code, attempt=attempt, **about)
        await self._sleep(delay)

    def _delay(self, error: Exception, attempts: int) -> float | None:
        if isinstance(error, PermanentError):
            return None
        return self._policy.failures.delay_after(attempts)

    async def _has_room(self) -> bool:
        room = False

        async def ask() -> None:
            nonlocal room
            room = await self._window.has_room()

        await self.through_outages(ask)
        return room

    async def _bury(self, record: Record, error: Exception, attempts: int) -> None:
        """A dead letter that cannot be written holds everything up: passing over it would lose the message."""
        reason = error.code if isinstance(error, InvalidMessage) else HANDLER_FAILED
        detail = "; ".join(described(error).values())
        put = partial(
            self._dead_letters.put, record, reason=reason, detail=detail, attempts=attempts
        )
        while refusal := await self.through_outages(put, **log_fields(record)):
            await self._stand_still(record, UNWRITABLE, refusal)

    async def _stand_still(self, record: Record, why: str, error: Exception) -> None:
        """Until the next probe is due, or somebody resumes."""
        pause = self._noted(record, why)
        self._report_pause()
        log.error(
            "kafka.paused" if pause.probes == 0 else "kafka.probe_failed",
            why=why,
            since=pause.since.isoformat(),
            probes=pause.probes,
            next_probe_seconds=self._policy.probe_seconds,
            todo=ADVICE[why],
            **described(error),
            **log_fields(record),
        )
        await self._quietly(partial(self._window.paused, pause))
        left = self._policy.probe_seconds
        while left > 0:
            self._report_pause()
            await self._sleep(min(left, self._window.look_seconds))
            left -= self._window.look_seconds
            if left > 0 and await self._quietly(self._window.released):
                log.warning("kafka.resume_requested", **log_fields(record))
                return

    def _noted(self, record: Record, why: str) -> Pause:
        now = self._clock.now()
        if self._pause is None or self._pause.why != why:
            place = (record.topic, record.partition, record.offset)
            self._pause = Pause(*place, why=why, since=now, last_probe=now)
        else:
            self._pause = replace(self._pause, last_probe=now, probes=self._pause.probes + 1)
        return self._pause

    async def _go_on(self) -> None:
        """The message is done with, one way or the other."""
        if self._pause is not None:
            pause, self._pause = self._pause, None
            self._report(None)
            log.warning("kafka.resumed", topic=pause.topic, why=pause.why, probes=pause.probes + 1)
            await self._quietly(self._window.resumed)

    async def _quietly(self, step: Callable[[], Awaitable[object]]) -> object:
        """What is said about a pause must not lengthen it: the database may be what is away."""
        try:
            return await step()
        except CadenzaError as error:
            log.warning("kafka.pause_not_noted", code=error.code)
            return None


def described(error: Exception) -> dict[str, str]:
    """What logs and headers say of an error; the text of an unknown one may hold content, so kind and place must do."""
    if isinstance(error, CadenzaError):
        return {"code": error.code, "error": error.message}
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].name}, line {frames[-1].lineno}" if frames else "unknown"
    return {"code": type(error).__name__, "at": place}
