import pytest

from services.scanner.errors import AwsBusy, AwsRefused, Unavailable, WrongAccount
from services.scanner.events import totals
from services.scanner.models import Account, Found, Problem, ScanOrder
from services.scanner.service import Entry, Limits, ScanService
from services.scanner.worker import verdict
from shared.clock import SystemClock
from shared.errors import StorageUnavailable
from shared.retry import RetryPolicy
from tests.unit.scanner.fakes import FakeCloud, MemoryResources, a_resource, scope

A, B = Account("111111111111", "first"), Account("222222222222", "second")
ENTRIES = (Entry(A),)
EC2_EAST, EC2_WEST, S3 = f"{A.id}/us-east-1/ec2", f"{A.id}/eu-west-1/ec2", f"{A.id}/global/s3"


class World:
    def __init__(self, things=None, *, entries=ENTRIES, regions=(), limits=None, **cloud):
        self.cloud = FakeCloud(things or {}, **cloud)
        self.resources = MemoryResources()
        self.delays = []
        clock = SystemClock()

        async def sleep(seconds):
            self.delays.append(seconds)

        clock.sleep = sleep
        self.service = ScanService(
            cloud=self.cloud,
            resources=self.resources,
            entries=entries,
            regions=regions,
            limits=limits or Limits(),
            retry=RetryPolicy(max_attempts=3, initial_delay=1.0),
            clock=clock,
        )

    async def scan(self, *, tenant="demo", done=(), scan_id="scan-1", **wanted):
        results = []

        async def record(result):
            results.append(result)

        await self.service.scan(
            ScanOrder(scan_id, tenant, "ann", **wanted), done=done, record=record
        )
        return {str(one.scope): one for one in results}


async def test_everything_configured_is_looked_at_and_globals_once():
    world = World({EC2_EAST: ["i-1"], EC2_WEST: ["i-2", "i-3"], S3: ["b-1"]})
    results = await world.scan()
    assert set(results) == {EC2_EAST, EC2_WEST, S3}
    assert {one.status for one in results.values()} == {"completed"}
    assert world.resources.identifiers() == ["b-1", "i-1", "i-2", "i-3"]
    assert totals(list(results.values()))["discovered"] == 4
    assert verdict(list(results.values())) == ("completed", None)


async def test_global_services_do_not_depend_on_the_regions_asked_for():
    world = World({S3: ["b-1"]})
    results = await world.scan(regions=["eu-west-1"])
    assert set(results) == {EC2_WEST, S3}


async def test_what_vanished_is_swept():
    world = World({EC2_EAST: ["i-1", "i-2"]})
    await world.scan(services=["ec2"])
    world.cloud.things = {EC2_EAST: ["i-2"]}
    results = await world.scan(services=["ec2"])
    assert (results[EC2_EAST].deleted, results[EC2_WEST].deleted) == (1, 0)
    assert world.resources.identifiers() == ["i-2"]


async def test_without_cleanup_nothing_is_swept():
    world = World({EC2_EAST: ["i-1"]})
    await world.scan()
    world.cloud.things = {}
    assert sum(one.deleted for one in (await world.scan(cleanup_stale=False)).values()) == 0
    assert world.resources.identifiers() == ["i-1"]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (AwsRefused("UnauthorizedOperation", aws_code="UnauthorizedOperation"), "failed"),
        (Unavailable("OptInRequired", aws_code="OptInRequired"), "skipped"),
        (AwsBusy("throttled"), "failed"),
        (RuntimeError("a bug"), "failed"),
    ],
)
async def test_a_scope_that_did_not_complete_sweeps_nothing_and_the_rest_goes_on(answer, status):
    world = World({EC2_EAST: ["i-1"], EC2_WEST: ["i-2"]})
    await world.scan()
    world.cloud.things = {EC2_EAST: [answer], EC2_WEST: ["i-3"]}
    results = await world.scan()
    assert results[EC2_EAST].status == status
    assert results[EC2_EAST].reason
    assert results[EC2_EAST].deleted == 0
    assert results[EC2_WEST].status == "completed"
    assert world.resources.identifiers() == ["i-1", "i-3"]
    assert verdict(list(results.values()))[0] == "completed"


async def test_a_lost_item_keeps_the_partial_result_and_sweeps_nothing():
    world = World({EC2_EAST: ["i-1", "i-2"]})
    await world.scan()
    world.cloud.things = {
        EC2_EAST: Found(
            [a_resource("i-3", scope(EC2_EAST))], [Problem("unreadable", "x")], whole=False
        )
    }
    result = (await world.scan())[EC2_EAST]
    assert (result.status, result.upserted, result.deleted) == ("failed", 1, 0)
    assert world.resources.identifiers() == ["i-1", "i-2", "i-3"]


async def test_a_busy_aws_is_asked_again_with_backoff():
    world = World({EC2_EAST: [AwsBusy(), AwsBusy(), ["i-1"]]})
    results = await world.scan(services=["ec2"], regions=["us-east-1"])
    assert results[EC2_EAST].status == "completed"
    first, second = world.delays
    assert 0.5 <= first <= 1.0 <= second <= 2.0
    assert world.resources.identifiers() == ["i-1"]


async def test_ten_regions_at_most_at_a_time():
    world = World(latency=0.005)
    world.cloud.open = [f"region-{number}" for number in range(35)]
    results = await world.scan()
    assert len(results) == 36
    assert world.cloud.most_regions == 10


async def test_services_of_a_region_are_limited_too():
    services = {f"s{number}": False for number in range(12)}
    world = World(latency=0.005, services=services, limits=Limits(regions=2, services=3))
    world.cloud.open = ["r1", "r2", "r3"]
    await world.scan()
    assert world.cloud.most_looks == 6


async def test_accounts_go_one_after_the_other_and_fail_alone():
    world = World(entries=(Entry(A), Entry(B)), regions=["us-east-1"])
    world.cloud.refusals = {A.id: WrongAccount("not yours")}
    results = await world.scan()
    assert world.cloud.entered == [A.id, B.id]
    assert {key: one.status for key, one in results.items()} == {
        f"{A.id}/*/ec2": "failed",
        f"{A.id}/*/s3": "failed",
        f"{B.id}/us-east-1/ec2": "completed",
        f"{B.id}/global/s3": "completed",
    }


async def test_credentials_that_nobody_accepts_are_a_failure_not_a_closed_region():
    world = World()
    world.cloud.refusals = {
        A.id: Unavailable("InvalidClientTokenId", aws_code="InvalidClientTokenId")
    }
    results = await world.scan()
    assert {one.status for one in results.values()} == {"failed"}
    assert verdict(list(results.values()))[0] == "failed"


async def test_what_is_named_twice_is_looked_at_once():
    world = World()
    await world.scan(
        accounts=[A.id, A.id], regions=["us-east-1", "us-east-1"], services=["ec2", "ec2"]
    )
    assert [str(one) for one in world.cloud.looked] == [EC2_EAST]


async def test_regions_that_cannot_be_listed_stop_the_regional_services_only():
    world = World({S3: ["b-1"]})
    world.cloud.open = AwsRefused("UnauthorizedOperation", aws_code="UnauthorizedOperation")
    results = await world.scan()
    assert results[f"{A.id}/*/ec2"].status == "failed"
    assert results[f"{A.id}/*/ec2"].problems[0].code == "UnauthorizedOperation"
    assert results[S3].status == "completed"


async def test_unknown_accounts_and_services_are_named():
    world = World()
    results = await world.scan(accounts=[A.id, "999999999999"], services=["s3", "lambda"])
    assert results["999999999999/*/s3"].problems[0].code == "unknown_account"
    assert results[f"{A.id}/*/lambda"].problems[0].code == "unsupported_service"
    assert results[S3].status == "completed"


async def test_an_account_is_closed_to_other_tenants():
    world = World({EC2_EAST: ["i-1"]}, entries=(Entry(A, frozenset({"demo"})),))
    assert await world.scan(tenant="other") == {}
    results = await world.scan(tenant="other", accounts=[A.id])
    assert {one.problems[0].code for one in results.values()} == {"unknown_account"}
    assert not world.cloud.entered
    assert verdict([]) == ("failed", "no account is configured for this tenant")


async def test_tenants_do_not_share_or_sweep_each_others_resources():
    world = World({EC2_EAST: ["i-1"]})
    await world.scan(tenant="demo")
    await world.scan(tenant="other")
    world.cloud.things = {}
    await world.scan(tenant="other")
    assert world.resources.identifiers("demo") == ["i-1"]
    assert world.resources.identifiers("other") == []


async def test_scopes_of_a_former_owner_are_not_looked_at_again():
    world = World()
    results = await world.scan(done=[scope(EC2_EAST)])
    assert scope(EC2_EAST) not in world.cloud.looked
    assert EC2_EAST not in results


async def test_our_own_outage_is_not_the_scopes_fault():
    world = World()

    async def upsert(*_, **__):
        raise StorageUnavailable

    world.resources.upsert = upsert
    with pytest.raises(StorageUnavailable):
        await world.scan()


def test_a_scopes_document_stays_small():
    from services.scanner.models import ScopeResult

    many = [Problem("unreadable", "x" * 5000)] * 5000
    document = ScopeResult(scope(EC2_EAST), "failed", problems=many).as_document()
    assert len(document["errors"]) == 100
    assert len(document["errors"][0]["message"]) == 1000


def test_a_scan_in_which_nothing_could_be_looked_at_has_failed():
    from services.scanner.models import ScopeResult

    skipped = ScopeResult(scope(EC2_EAST), "skipped", "closed")
    done = ScopeResult(scope(EC2_WEST), "completed")
    assert verdict([skipped])[0] == "failed"
    assert verdict([skipped, done]) == ("completed", "1 skipped of 2 scopes")
