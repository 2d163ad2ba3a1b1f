"""One extraction from queue item to lake, with the simulator and a local folder: every way in which it may end."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from sandbox.virtuoso.faults import Faults
from sandbox.virtuoso.server import Simulator
from services.extractor.clients.virtuoso import VirtuosoClient
from services.extractor.directory import Directory
from services.extractor.errors import UnknownCustomer
from services.extractor.fetching import Fetcher
from services.extractor.lake.index import LakeIndex
from services.extractor.lake.keys import CustomerKeys
from services.extractor.lake.writer import LakeWriter
from services.extractor.service import Extractor
from services.extractor.settings import CustomerSettings, ExtractorGroup
from shared.errors import NotFound, StorageUnavailable
from shared.objects.local import LocalStore
from tests.builders.extractions import FastClock

SECOND = {
    "tenant": "demo", "customer_id": "002", "slug": "customer-002", "active": False,
}  # fmt: skip


class Stored:
    """The collection `customers`."""

    documents: list = []

    async def find(self, tenant, name):
        for one in self.documents:
            if one["tenant"] == tenant and name in (one["customer_id"], one["slug"]):
                return one
        raise UnknownCustomer

    async def list(self, tenant=None):
        return [one for one in self.documents if tenant in (None, one["tenant"])]


class Secrets:
    async def get(self, tenant, name):
        if name == "virtuoso/customer-002/token":
            return "sandbox-token"
        raise NotFound(name)


class Failing(LocalStore):
    """A store that is away for the first few calls."""

    away = 0

    async def put_if(self, *args, **more):
        if self.away > 0:
            self.away -= 1
            raise StorageUnavailable
        return await super().put_if(*args, **more)


class World:
    def __init__(self, simulator, folder):
        self.simulator = simulator
        self.clock = FastClock()
        self.store = Failing(folder, sync=False)
        customer = CustomerSettings(
            slug="customer-001", tenant="demo", api_url=simulator.url,
            token=SecretStr("sandbox-token"),
        )  # fmt: skip
        bad = customer.model_copy(update={"slug": "denied", "token": SecretStr("wrong")})
        self.stored = Stored()
        self.stored.documents = [SECOND | {"api_url": simulator.url}]
        self.customers = Directory(
            {"001": customer, "009": bad}, self.stored, secrets=Secrets(), clock=self.clock
        )
        group = ExtractorGroup(retry_budget_seconds=60, request_timeout_seconds=1)
        self.client = VirtuosoClient(group, clock=self.clock)
        self.claims = 0

    def extractor(self):
        return Extractor(
            customers=self.customers,
            fetcher=Fetcher(self.client, clock=self.clock, cache_seconds=0),
            lake=LakeWriter(self.store),
            clock=self.clock,
            keys=lambda customer: CustomerKeys(f"{customer.tenant}/lake", customer.slug),
            unfinished_wait=30,
            unfinished_poll=2,
        )

    async def extract(self, execution_id=88715, *, customer="001", tenant="demo", revision=None):
        self.claims += 1
        until = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.claims)
        item = {
            "tenant": tenant, "customer": customer, "execution_id": str(execution_id),
            "revision": revision, "lease": {"until": until},
        }  # fmt: skip
        return await self.extractor().extract(item)

    def fault(self, path, **fault):
        self.simulator.app.state.faults.set(
            Faults(script=[{"path": path, "times": 10_000, **fault}])
        )

    async def keys(self):
        return [info.key async for info in self.store.list("demo")]

    async def envelope(self):
        body = await self.store.get("demo/lake/customer-001/2024/07/16/execution-88715.json")
        return json.loads(body)


@pytest.fixture
async def world(tmp_path):
    simulator = Simulator()
    await simulator.start()
    world = World(simulator, tmp_path)
    yield world
    await world.client.stop()
    await simulator.stop()


async def test_a_finished_execution_comes_into_the_lake(world):
    outcome = await world.extract()
    assert (outcome.status, outcome.reason) == ("completed", None)
    envelope = await world.envelope()
    assert envelope["results"] == {"passed": 15, "failed": 0, "skipped": 0}
    raw = "demo/lake/customer-001/2024/07/16/execution-88715.raw"
    calls = ["environments-5120", "execution-88715", "goal-9640", "journey-527211"]
    assert [key for key in await world.keys() if key.startswith(raw)] == [
        f"{raw}/{call}.json" for call in calls
    ]
    assert outcome.location.endswith("/customer-001/2024/07/16/execution-88715.json")


async def test_id_and_slug_are_one_customer(world):
    first = await world.extract(customer="001")
    second = await world.extract(customer="customer-001", revision=first.row["revision"])
    assert (first.status, second.status) == ("completed", "unchanged")
    assert first.row == second.row


async def test_a_changed_execution_is_a_new_version(world):
    first = await world.extract()
    world.simulator.app.state.world.executions[88715]["outcome"] = "FAIL"
    second = await world.extract(revision=1)
    assert (second.status, second.row["revision"]) == ("completed", 2)
    assert second.row["version"] != first.row["version"]
    assert (await world.envelope())["execution"]["outcome"] == "FAIL"
    versions = {key.split("/")[5] for key in await world.keys() if "/versions/" in key}
    assert versions == {first.row["version"], second.row["version"]}


async def test_a_run_that_is_not_finished_is_waited_for(world):
    execution = world.simulator.app.state.world.executions[88715]
    execution["status"] = "RUNNING"
    looks = []

    async def sleep(seconds):
        looks.append(seconds)
        world.clock.time += seconds
        if len(looks) == 3:
            execution["status"] = "FINISHED"

    world.clock.sleep = sleep
    assert (await world.extract()).status == "completed"
    assert looks == [2, 4, 8]


async def test_a_run_that_never_finishes_fails_and_stores_nothing(world):
    world.simulator.app.state.world.executions[88715]["status"] = "RUNNING"
    outcome = await world.extract()
    assert (outcome.status, outcome.reason) == ("failed", "not_finished")
    assert sum(world.clock.slept) == pytest.approx(30)
    assert await world.keys() == []


@pytest.mark.parametrize(
    ("path", "fault", "status", "reason"),
    [
        ("/executions/88715", {"status": 401}, "denied", "denied"),
        ("/executions/88715", {"status": 403}, "denied", "denied"),
        ("/executions/88715", {"status": 404}, "failed", "execution_missing"),
        ("/executions/88715", {"status": 429}, "failed", "rate_limited"),
        ("/executions/88715", {"status": 500}, "failed", "upstream_unavailable"),
        ("/executions/88715", {"kind": "drop"}, "failed", "upstream_unavailable"),
        ("/executions/88715", {"kind": "html"}, "failed", "unreadable_answer"),
        ("/executions/88715", {"status": 400}, "failed", "invalid_request"),
        ("/testsuites/527211", {"status": 500}, "failed", "upstream_unavailable"),
        ("/testsuites/527211", {"kind": "html"}, "failed", "unreadable_answer"),
        ("/goals/9640", {"status": 503}, "failed", "upstream_unavailable"),
        ("/projects/5120/environments", {"status": 500}, "failed", "upstream_unavailable"),
    ],
)
async def test_what_virtuoso_does_not_give_is_never_stored(world, path, fault, status, reason):
    world.fault(path, **fault)
    outcome = await world.extract()
    assert (outcome.status, outcome.reason) == (status, reason)
    assert outcome.detail
    assert await world.keys() == []


@pytest.mark.parametrize(("status", "word"), [(404, "missing"), (401, "denied"), (403, "denied")])
async def test_parts_that_are_refused_are_kept_as_refused(world, status, word):
    world.fault("/testsuites/527211", status=status)
    outcome = await world.extract()
    assert outcome.status == "completed"
    assert outcome.row["incomplete"] == [f"journey-527211:{word}"]
    envelope = await world.envelope()
    assert envelope["journey"] == {"id": 527211, "status": word}
    assert envelope["results"]["passed"] == 15
    world.fault("/projects/5120/environments", status=status)
    again = await world.extract(revision=1)
    assert (again.status, again.row["revision"]) == ("completed", 2)
    environment = (await world.envelope())["testData"]["environment"]
    assert environment == {"id": 2711, "status": word}


@pytest.mark.parametrize(
    ("customer", "tenant", "reason"),
    [
        ("nobody", "demo", "unknown_customer"),
        ("001", "other", "unknown_customer"),
        ("002", "demo", "customer_inactive"),
    ],
)
async def test_customers_that_are_not_served(world, customer, tenant, reason):
    outcome = await world.extract(customer=customer, tenant=tenant)
    assert (outcome.status, outcome.reason) == ("failed", reason)
    assert world.simulator.app.state.requests == {}


async def test_a_customer_of_the_collection(world):
    world.stored.documents[0]["active"] = True
    assert (await world.extract(customer="002")).row["customer"] == "customer-002"


async def test_a_customer_without_a_token(world):
    world.stored.documents = [SECOND | {"slug": "customer-003", "api_url": world.simulator.url}]
    outcome = await world.extract(customer="002")
    assert (outcome.status, outcome.reason) == ("failed", "credentials_missing")


async def test_a_wrong_token_is_denied(world):
    outcome = await world.extract(customer="009")
    assert (outcome.status, outcome.reason) == ("denied", "denied")


async def test_an_object_store_that_is_away_is_waited_for(world):
    world.store.away = 5
    assert (await world.extract()).status == "completed"
    assert len(world.clock.slept) >= 1


async def test_drift_does_not_stop_it(world):
    world.simulator.app.state.faults.set(Faults(drift=True))
    outcome = await world.extract()
    assert outcome.status == "completed"
    raw = await world.store.get(
        "demo/lake/customer-001/2024/07/16/execution-88715.raw/execution-88715.json"
    )
    assert json.loads(raw)["item"]["driftMarker"]
    assert outcome.row["duration_ms"] == 14525


async def test_no_secret_comes_into_envelopes_rows_or_indexes(world):
    await world.extract()
    keys = CustomerKeys("demo/lake", "customer-001")
    await LakeIndex(world.store).merge(keys)
    for key in await world.keys():
        if ".raw/" not in key:
            body = await world.store.get(key)
            assert b"correct-horse-42" not in body, key
            assert b"sandbox-token" not in body, key
