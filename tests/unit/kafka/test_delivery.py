import asyncio
from datetime import UTC, datetime

import pytest

from shared.errors import (
    BrokerUnavailable,
    InvalidMessage,
    NotFound,
    RateLimited,
    StorageUnavailable,
    TooLarge,
)
from shared.events.audit import AuditLog
from shared.kafka.delivery import (
    DeadLetters,
    Delivery,
    DeliveryPolicy,
    decode,
    decode_batch,
)
from shared.kafka.pausing import MemoryFailureWindow
from shared.kafka.records import Record
from shared.retry import RetryPolicy

GOOD = b'{"id":"1","tenant":"t","occurred_at":"2026-01-31T12:00:00Z","actor":"a","action":"x.y","target":"z"}'
POLICY = DeliveryPolicy(
    failures=RetryPolicy(max_attempts=3, initial_delay=1, factor=2, jitter=0),
    outage=RetryPolicy(max_attempts=10**9, initial_delay=1, factor=2, max_delay=8, jitter=0),
    probe_seconds=30,
)


def a_record(value: bytes | None = GOOD, **overrides) -> Record:
    return Record(
        **{
            "topic": "audit-log",
            "partition": 2,
            "offset": 7,
            "key": b"k",
            "value": value,
            **overrides,
        }
    )


class FakePublisher:
    def __init__(self) -> None:
        self.sent: list[tuple] = []
        self.failures: list[Exception] = []

    async def send_raw(self, topic, key, value, headers):
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append((topic, key, value, dict(headers)))
        return (0, len(self.sent) - 1)

    @property
    def reasons(self) -> list[tuple[str, str]]:
        return [(headers["dlq-reason"], headers["dlq-attempts"]) for *_, headers in self.sent]


class Bench:
    """A delivery and its clock; sleeps cost nothing."""

    def __init__(self, *, limit: int = 50, seconds: float = 600) -> None:
        self.publisher = FakePublisher()
        self.slept: list[float] = []
        self.reports: list[str | None] = []
        self.elapsed = 0.0
        self.on_sleep = lambda: None
        self.delivery = Delivery(
            DeadLetters(self.publisher, clock=self),
            policy=POLICY,
            window=MemoryFailureWindow(limit, seconds=seconds, clock=self),
            report=self.reports.append,
            sleep=self.sleep,
            clock=self,
        )

    def says(self, beginning: str) -> bool:
        return any(report and report.startswith(beginning) for report in self.reports)

    def now(self) -> datetime:
        return datetime(2026, 1, 31, 12, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.elapsed

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.elapsed += seconds
        self.on_sleep()
        await asyncio.sleep(0)


class Handler:
    """Fails with these errors, one per call, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def __call__(self) -> None:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)


async def test_what_succeeds_is_called_once():
    bench, handler = Bench(), Handler()
    await bench.delivery.handle(a_record(), handler)
    assert (handler.calls, bench.publisher.sent, bench.slept) == (1, [], [])


async def test_an_outage_is_waited_out_without_counting():
    bench, handler = (
        Bench(),
        Handler(*[StorageUnavailable()] * 6, RuntimeError(), StorageUnavailable()),
    )
    await bench.delivery.handle(a_record(), handler)
    assert handler.calls == 9
    assert bench.slept == [1, 2, 4, 8, 8, 8, 1, 1]
    assert bench.publisher.sent == []
    assert bench.reports[0] == "waiting: storage_unavailable"
    assert bench.reports[-1] is None


async def test_an_outage_that_names_its_end_is_waited_for_within_bounds():
    bench = Bench()
    await bench.delivery.handle(
        a_record(), Handler(RateLimited(retry_after=5), RateLimited(retry_after=500))
    )
    assert bench.slept == [5, 8]


async def test_unexpected_errors_are_tried_a_bounded_number_of_times():
    bench, handler = Bench(), Handler(*[RuntimeError("password=hunter2")] * 9)
    await bench.delivery.handle(a_record(headers={"ce_id": b"1", "x": b"\xff"}), handler)
    assert (handler.calls, bench.slept) == (3, [1, 2])
    [(topic, key, value, headers)] = bench.publisher.sent
    assert (topic, key, value) == ("audit-log.dlq", b"k", GOOD)
    assert "hunter2" not in headers["dlq-detail"]
    assert headers.pop("dlq-detail").startswith("RuntimeError")
    assert headers == {
        "ce_id": b"1",
        "x": b"\xff",
        "dlq-reason": "handler_failed",
        "dlq-origin-topic": "audit-log",
        "dlq-origin-partition": "2",
        "dlq-origin-offset": "7",
        "dlq-attempts": "3",
        "dlq-at": "2026-01-31T12:00:00.000Z",
    }


async def test_a_permanent_error_is_not_tried_again():
    bench, handler = Bench(), Handler(NotFound("no such customer"))
    await bench.delivery.handle(a_record(), handler)
    assert (handler.calls, bench.slept, bench.publisher.reasons) == (
        1,
        [],
        [("handler_failed", "1")],
    )
    assert bench.publisher.sent[0][3]["dlq-detail"] == "not_found; no such customer"


async def test_the_dead_letter_itself_waits_for_kafka():
    bench = Bench()
    bench.publisher.failures = [BrokerUnavailable()] * 3
    await bench.delivery.handle(a_record(), Handler(InvalidMessage("not JSON")))
    assert bench.slept == [1, 2, 4]
    assert bench.publisher.reasons == [("invalid_message", "1")]


async def test_a_dead_letter_that_is_refused_holds_everything_up():
    bench = Bench()
    bench.publisher.failures = [TooLarge(), TooLarge()]
    await bench.delivery.handle(a_record(), Handler(InvalidMessage("not JSON")))
    assert bench.slept == [30, 30]
    assert bench.says("paused: a dead letter cannot be written")
    assert bench.publisher.reasons == [("invalid_message", "1")]


async def test_above_the_limit_nothing_is_dead_lettered_until_the_window_has_room():
    bench = Bench(limit=2, seconds=100)
    for _ in range(2):
        await bench.delivery.handle(a_record(), Handler(NotFound()))
    handler = Handler(*[NotFound()] * 99)
    await bench.delivery.handle(a_record(), handler)
    assert bench.slept == [30] * 4, "probed every 30 s until the first failures had left the window"
    assert handler.calls == 5
    assert bench.says("paused: too many messages failed")
    assert len(bench.publisher.sent) == 3


async def test_above_the_limit_a_probe_that_succeeds_lets_work_go_on():
    bench = Bench(limit=1, seconds=10_000)
    await bench.delivery.handle(a_record(), Handler(NotFound()))
    await bench.delivery.handle(a_record(), Handler(NotFound(), NotFound()))
    assert bench.slept == [30, 30]
    assert bench.reports[-1] is None
    assert len(bench.publisher.sent) == 1


async def test_a_pause_is_told_without_a_gap_until_its_message_is_done_with():
    """Who asks while a probe is under way must not hear that all is well."""
    bench = Bench(limit=1, seconds=10_000)
    await bench.delivery.handle(a_record(), Handler(NotFound()))
    bench.reports.clear()
    await bench.delivery.handle(a_record(), Handler(*[NotFound()] * 3))
    from_the_pause_on = bench.reports[bench.reports.index(next(filter(None, bench.reports))) :]
    *told, last = from_the_pause_on
    assert last is None
    assert all(report and report.startswith("paused:") for report in told), bench.reports
    assert len(told) > 6


async def test_unreadable_messages_do_not_count():
    bench = Bench(limit=1)
    for _ in range(5):
        await bench.delivery.handle(a_record(), Handler(InvalidMessage()))
    await bench.delivery.handle(a_record(), Handler(NotFound()))
    assert len(bench.publisher.sent) == 6
    assert bench.slept == []


async def test_cancellation_gets_out():
    bench = Bench()

    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await bench.delivery.handle(a_record(), cancelled)
    assert bench.publisher.sent == []


async def test_a_dead_letter_stays_on_its_topic():
    publisher = FakePublisher()
    await DeadLetters(publisher).put(
        a_record(topic="audit-log.dlq"), reason="r", detail="", attempts=1
    )
    assert publisher.sent[0][0] == "audit-log.dlq"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no value"),
        (b"", "Invalid JSON"),
        (b"{", "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        (b'{"id":"\xff"}', "Invalid JSON"),
        (b"[]", "Input should be an object"),
        (b"null", "Input should be an object"),
        (GOOD.replace(b'"t"', b'""'), "tenant"),
        (GOOD.replace(b'"t"', b"5"), "tenant"),
        (GOOD.replace(b"2026-01-31T12:00:00Z", b"2026-01-31T12:00:00"), "occurred_at"),
        (b"{}", "and 1 more"),
    ],
)
def test_what_cannot_be_read_says_why_without_its_content(value, reason):
    with pytest.raises(InvalidMessage, match=reason) as caught:
        decode(a_record(value), AuditLog)
    assert "\xff" not in str(caught.value)


def test_the_content_is_not_repeated():
    with pytest.raises(InvalidMessage) as caught:
        decode(a_record(b'{"id": {"secret": "hunter2"}, "tenant": ["hunter2"]}'), AuditLog)
    assert "hunter2" not in str(caught.value)


async def test_unreadable_records_of_a_batch_are_dead_lettered_one_by_one():
    publisher = FakePublisher()
    records = [
        a_record(offset=1),
        a_record(b"{", offset=2),
        a_record(offset=3),
        a_record(None, offset=4),
    ]
    readable = await decode_batch(records, AuditLog, DeadLetters(publisher))
    assert [record.offset for record, _ in readable] == [1, 3]
    assert [headers["dlq-origin-offset"] for *_, headers in publisher.sent] == ["2", "4"]
    assert {headers["dlq-reason"] for *_, headers in publisher.sent} == {"invalid_message"}
