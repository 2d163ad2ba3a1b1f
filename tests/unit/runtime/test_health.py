"""Readiness follows loops, checks, reports and the phase of the process."""

import asyncio

from shared.runtime import CHECK_TTL, OK, Health
from shared.settings import RuntimeSettings


class Clockwork:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def health(**kwargs):
    clock = Clockwork()
    return Health(RuntimeSettings(stall_seconds=15), monotonic=clock, **kwargs), clock


async def test_nothing_to_watch_is_ready():
    checked, _ = health()
    assert await checked.ready() == {"process": OK}


async def test_a_loop_that_stalls_turns_readiness_off_until_it_beats_again():
    checked, clock = health()
    checked.watch("ingest")
    clock.now += 15
    assert (await checked.ready())["ingest"] == OK
    clock.now += 1
    assert (await checked.ready())["ingest"] == "no turn for 16 s"
    checked.beat("ingest")
    assert (await checked.ready())["ingest"] == OK
    checked.unwatch("ingest")
    assert "ingest" not in await checked.ready()


async def test_a_part_that_reports_trouble_is_named_until_it_is_well():
    checked, _ = health()
    checked.report("consumer run-requested", "the database does not answer")
    assert (await checked.ready())["consumer run-requested"] == "the database does not answer"
    checked.report("consumer run-requested", None)
    assert await checked.ready() == {"process": OK}


async def test_checks_answer_with_their_reason():
    checked, _ = health()

    async def gone():
        return False

    async def broken():
        raise ConnectionRefusedError("connection refused")

    async def there():
        return True

    for name, check in (("gone", gone), ("broken", broken), ("there", there)):
        checked.add_check(name, check)
    states = await checked.ready()
    assert states["gone"] == "not available"
    assert states["broken"] == "ConnectionRefusedError: connection refused"
    assert states["there"] == OK


async def test_a_check_that_hangs_is_cut_short():
    checked, _ = health()

    async def hangs():
        await asyncio.sleep(60)
        return True

    checked.add_check("mongo", hangs)
    async with asyncio.timeout(5):
        assert (await checked.ready())["mongo"] == "no answer within 1 s"


async def test_many_probes_ask_a_dependency_once_a_second():
    checked, clock = health()
    asked = 0

    async def check():
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return True

    checked.add_check("kafka", check)
    await asyncio.gather(*(checked.ready() for _ in range(20)))
    assert asked == 1
    clock.now += CHECK_TTL
    await checked.ready()
    assert asked == 2


async def test_starting_and_draining_are_not_ready():
    checked, _ = health()
    checked.starting = True
    assert (await checked.ready())["process"] == "starting"
    checked.draining = True
    assert (await checked.ready())["process"] == "draining"
