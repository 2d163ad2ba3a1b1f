"""Scans under the shared work loop, on the queue in memory."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from services.scanner.events import new_scan
from services.scanner.models import Account
from services.scanner.repository import queue
from services.scanner.service import Entry, ScanService
from services.scanner.worker import Worker
from shared.clock import SystemClock
from shared.errors import StorageUnavailable
from shared.events.scan import ScanRequested
from shared.observability import tracing
from shared.work.memory import MemoryWork
from shared.work.memory_store import MemoryStore
from shared.work.runner import WorkLoop
from tests.unit.scanner.fakes import FakeCloud, MemoryResources

HOME = "111111111111"
EAST, WEST = f"{HOME}/us-east-1/ec2", f"{HOME}/eu-west-1/ec2"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACE = f"00-{TRACE_ID}-b7ad6b7169203331-01"
REQUEST = ScanRequested.model_validate(
    {
        "id": "scan-1",
        "tenant": "demo",
        "occurred_at": "2026-01-01T00:00:00Z",
        "scan_id": "scan-1",
        "requested_by": "ann",
        "services": ["ec2"],
    }
)


class Cloud(FakeCloud):
    """Lets go of the scopes in `stuck` when it is told to."""

    def __init__(self, things, *, stuck=()):
        super().__init__(things)
        self.stuck, self.going_on, self.traces = set(stuck), asyncio.Event(), set()

    async def enter(self, account):
        estate = await super().enter(account)
        look = estate.look

        async def look_or_wait(scope):
            self.traces.add(tracing.trace_id())
            if str(scope) in self.stuck:
                await self.going_on.wait()
            return await look(scope)

        estate.look = look_or_wait
        return estate


class MemoryScans:
    """Stores what became of scopes with the scan; `slow` is how long that takes."""

    def __init__(self, work, *, slow=0.0):
        self.work, self.slow = work, slow

    async def record(self, claim, result, *, at):
        self.work.sequencer(claim).next()
        self.work.store.items[claim.id]["scopes"].append(result.as_document())
        await asyncio.sleep(self.slow)


class World:
    def __init__(self):
        self.store, self.resources = MemoryStore(), MemoryResources()
        self.work = self.works("first")

    def works(self, owner):
        return MemoryWork(
            queue(lease_seconds=60, renew_seconds=0.02), owner=owner, store=self.store
        )

    @property
    def scan(self):
        return self.store.items["scan-1"]

    @asynccontextmanager
    async def scanner(self, cloud, *, work=None, slow=0.0):
        work = work or self.work
        clock = SystemClock()
        service = ScanService(
            cloud=cloud, resources=self.resources, entries=[Entry(Account(HOME, "x"))], clock=clock
        )
        worker = Worker(
            work=work,
            scans=MemoryScans(work, slow=slow),
            service=service,
            clock=clock,
            pause_seconds=0.01,
        )
        loop = WorkLoop(
            work,
            worker.run,
            slots=2,
            poll_seconds=0.02,
            renew_seconds=0.02,
            recover_seconds=0.02,
            drain_seconds=0,
            on_cancel=worker.cancel,
        )
        await loop.start()
        try:
            yield loop
        finally:
            await loop.stop()

    async def until(self, condition):
        async with asyncio.timeout(5):
            while not condition(self.scan):
                await asyncio.sleep(0.005)

    async def ended(self):
        await self.until(lambda scan: scan["completed_at"] is not None)
        return self.scan


@pytest.fixture
async def world():
    world = World()
    await world.work.add([new_scan(REQUEST, traceparent=TRACE)])
    return world


async def test_a_scan_ends_with_its_sums_and_goes_on_with_the_trace_of_its_request(world):
    cloud = Cloud({EAST: ["i-1", "i-2"]})
    async with world.scanner(cloud):
        scan = await world.ended()
    assert (scan["status"], scan["discovered"], len(scan["scopes"])) == ("completed", 2, 2)
    assert cloud.traces == {TRACE_ID}


async def test_a_cancelled_scan_keeps_what_was_found(world):
    async with world.scanner(Cloud({EAST: ["i-1"]}, stuck=[WEST])) as loop:
        await world.until(lambda scan: scan["scopes"])
        assert await world.work.cancel("scan-1", tenant="demo", by="ann", reason=None) == "marked"
        scan = await world.ended()
        await world.until(lambda _: not loop.running)
    assert (scan["status"], scan["reason"], scan["upserted"]) == ("cancelled", "cancelled", 1)
    assert world.resources.identifiers() == ["i-1"]


async def test_what_is_being_stored_when_the_cancel_comes_is_counted(world):
    async with world.scanner(Cloud({EAST: ["i-1"]}, stuck=[WEST]), slow=60):
        await world.until(lambda scan: scan["scopes"])
        await world.work.cancel("scan-1", tenant="demo", by="ann", reason=None)
        scan = await world.ended()
    assert (scan["status"], scan["discovered"], len(scan["scopes"])) == ("cancelled", 1, 1)


async def test_a_scan_handed_over_does_not_look_again_at_scopes_that_are_done(world):
    async with world.scanner(Cloud({EAST: ["i-1"]}, stuck=[WEST])):
        await world.until(lambda scan: scan["scopes"])
    assert (world.scan["status"], world.scan["lease"]) == ("queued", None)
    other = Cloud({WEST: ["i-2"]})
    async with world.scanner(other, work=world.works("second")):
        scan = await world.ended()
    assert [str(one) for one in other.looked] == [WEST]
    assert (scan["status"], scan["discovered"], scan["recoveries"]) == ("completed", 2, 0)


async def test_a_scan_whose_lease_is_lost_writes_nothing_more(world):
    cloud = Cloud({EAST: ["i-1"], WEST: ["i-2"]}, stuck=[EAST, WEST])
    async with world.scanner(cloud) as loop:
        await world.until(lambda _: loop.running)
        world.scan["lease"] = {**world.scan["lease"], "owner": "another", "token": "theirs"}
        await world.until(lambda _: not loop.running)
        cloud.going_on.set()
        await asyncio.sleep(0.05)
    assert (world.scan["status"], world.scan["scopes"]) == ("running", [])
    assert world.scan["lease"]["owner"] == "another"
    assert world.resources.identifiers() == []


async def test_an_outage_of_the_database_is_waited_for_and_what_was_done_stays_done(world):
    upsert, refusals = world.resources.upsert, 0

    async def away(resources, *, scope, **more):
        nonlocal refusals
        if scope.region == "eu-west-1" and refusals < 3:
            await asyncio.sleep(0.01)  # the other scope is done by then
            refusals += 1
            raise StorageUnavailable
        return await upsert(resources, scope=scope, **more)

    world.resources.upsert = away
    cloud = Cloud({EAST: ["i-1"], WEST: ["i-2"]})
    async with world.scanner(cloud):
        scan = await world.ended()
    assert (scan["status"], scan["reason"], scan["discovered"]) == ("completed", None, 2)
    assert refusals == 3
    assert [str(one) for one in cloud.looked].count(EAST) == 1
    assert len(scan["scopes"]) == 2


async def test_a_mistake_of_ours_ends_the_scan_with_what_it_has(world):
    class Broken(MemoryScans):
        async def record(self, claim, result, *, at):
            if result.scope.region == "eu-west-1":
                await asyncio.sleep(0.01)
                raise RuntimeError("a secret")
            await super().record(claim, result, at=at)

    scans = Broken(world.work)
    service = ScanService(
        cloud=Cloud({EAST: ["i-1"]}),
        resources=world.resources,
        entries=[Entry(Account(HOME, "x"))],
        clock=SystemClock(),
    )
    worker = Worker(work=world.work, scans=scans, service=service, clock=SystemClock())
    [claim] = await world.work.claim(1)
    await worker.run(claim)
    assert (world.scan["status"], world.scan["reason"]) == ("failed", "internal_error")
    assert (world.scan["discovered"], world.scan["error"]) == (1, None)
