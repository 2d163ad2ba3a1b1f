"""The order of one stream, without any I/O."""

import random
from datetime import UTC, datetime

from shared.mongo.streams import Outgoing, Stream
from shared.work.ports import PendingEvent


def outgoing(number):
    return Outgoing("s", "c", number, {}, PendingEvent(number, None, "t", datetime.now(UTC)))


def numbers(events):
    return [event.pending.sequence for event in events]


def test_events_leave_in_order_whatever_becomes_durable_first():
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)
    stream, left = Stream(), []
    for number in range(100):
        stream.expect(number)
    order = list(range(100))
    rng.shuffle(order)
    dropped = set(rng.sample(order, 20))
    for number in order:
        if number in dropped:
            stream.release(number)
        else:
            stream.fill(outgoing(number))
        left += numbers(stream.leave())
    assert left == [number for number in range(100) if number not in dropped]
    assert stream == Stream()


def test_the_first_open_number_is_the_lowest_whose_fate_is_unknown():
    stream = Stream()
    for number in (3, 1, 2):
        stream.expect(number)
    stream.release(1)
    stream.fill(outgoing(3))
    assert stream.first_open() == 2


def test_closing_releases_only_what_no_change_carries():
    stream = Stream()
    stream.expect(1)
    stream.submit(2)
    stream.fill(outgoing(3))
    stream.close()
    assert numbers(stream.leave()) == []
    stream.fill(outgoing(2))
    assert numbers(stream.leave()) == [2, 3]
