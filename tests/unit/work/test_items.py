"""Claim order, and documents as they are inserted."""

from datetime import UTC, datetime, timedelta

from shared.work.items import end, queued_document, rank_of, start
from tests.builders.work import item, queue

AT = datetime(2026, 1, 1, tzinfo=UTC)


def test_rank_is_by_priority_then_time_then_place_and_fits_in_64_bits():
    ranks = [
        rank_of(100, AT, 0),
        rank_of(0, AT, 0),
        rank_of(0, AT, 1),
        rank_of(0, AT + timedelta(milliseconds=1), 0),
        rank_of(-100, AT - timedelta(days=1), 0),
        rank_of(-100, AT + timedelta(days=36500), 1023),
    ]
    assert ranks == sorted(set(ranks))
    assert ranks[-1] < 2**63


def test_a_queued_document_has_every_field_of_the_queue_and_its_event():
    document = queued_document(queue(), item(), at=AT, place=0)
    assert document["status"] == "queued"
    assert document["sequence"] == 1
    assert [event["type"] for event in document["events"]] == ["run.queued"]
    assert {"lease", "cancel", "wake_at", "blocked_on", "keys", "labels", "lane"} <= set(document)


def test_started_and_ended_documents_carry_their_events_in_order():
    begun = queued_document(queue(), item(), at=AT, place=0)
    start(begun, queue(), at=AT, lease={"owner": "me"})
    assert [(event["sequence"], event["prev"]) for event in begun["events"]] == [
        (1, None),
        ((1 << 32) + 1, 1),
    ]
    ended = queued_document(queue(queued=None), item(), at=AT, place=0)
    end(ended, queue(), at=AT, cancel={"by": "me"})
    assert [(event["sequence"], event["prev"]) for event in ended["events"]] == [
        ((1 << 32) + 1, None)
    ]
    assert ended["events"][0]["data"]["reason"] == "cancelled"
