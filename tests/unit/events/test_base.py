from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from shared.events.base import Event
from shared.events.execution import ExecutionComplete
from shared.events.run import RunRequested
from shared.events.scan import ScanResult

AT = datetime(2026, 1, 31, 14, 0, 0, 123_999, tzinfo=timezone(timedelta(hours=2)))


def complete(**overrides) -> ExecutionComplete:
    fields = {"id": "1", "tenant": "t", "occurred_at": AT, "source": "cadenza", "execution_id": "e"}
    return ExecutionComplete(**{**fields, **overrides})


def test_times_are_written_in_utc_with_milliseconds():
    assert b'"occurred_at":"2026-01-31T12:00:00.123Z"' in complete().body()
    assert complete().cloudevents_headers()["ce_time"] == "2026-01-31T12:00:00.123Z"
    assert complete(occurred_at=AT.replace(microsecond=0)).body().count(b"12:00:00.000Z") == 1


def test_a_time_without_zone_is_refused():
    with pytest.raises(ValidationError):
        complete(occurred_at=datetime(2026, 1, 31))  # noqa: DTZ001


def test_what_is_not_set_is_not_sent_but_free_form_values_are_untouched():
    plan = {"a.b": None, "$x": [None, {"c": None}], "big": 2**63 - 1}
    event = RunRequested(
        id="1", tenant="t", occurred_at=AT.astimezone(UTC), execution_id="e", user_id="u", plan=plan,
        content_hash="h",
    )  # fmt: skip
    assert b"stored_plan" not in event.body()
    assert RunRequested.model_validate_json(event.body()).plan == plan


def test_the_source_is_the_service_that_published_it():
    assert complete().cloudevents_headers()["ce_source"] == "cadenza/executor"
    webhook = complete(source="virtuoso", customer_id="001")
    assert webhook.cloudevents_headers()["ce_source"] == "cadenza/gateway"


def test_keys_keep_what_belongs_together_in_order():
    assert complete().key() == "e"
    assert complete(source="virtuoso", customer_id="001").key() == "t/001"
    scope = {"id": "1", "tenant": "t", "occurred_at": AT, "scan_id": "s", "status": "completed"}
    assert ScanResult(type="scan.finished", **scope).key() == "s"
    assert (
        ScanResult(type="scope.finished", account="1", region="r", service="ec2", **scope).key()
        == "1/r/ec2"
    )


def test_a_new_event_has_to_say_its_key():
    class Nameless(Event):
        topic = "x"
        producer = "y"

    with pytest.raises(TypeError, match="Nameless"):
        Nameless(id="1", tenant="t", occurred_at=AT).key()
