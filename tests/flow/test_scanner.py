"""The whole scanner in this process: real Kafka, real MongoDB, moto as AWS."""

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import boto3
import httpx
import pytest
from aiokafka import AIOKafkaConsumer
from pydantic import SecretStr

from services.scanner.bootstrap import build_app
from services.scanner.repository import COLLECTIONS
from services.scanner.settings import AccountSettings, ScannerGroup, ScannerSettings
from shared.events.scan import ScanRequested, ScanResult
from shared.ids import new_id
from shared.kafka.publishing import KafkaEventPublisher
from shared.kafka.topics import apply_topics
from shared.mongo.client import Mongo
from shared.mongo.indexes import apply
from shared.settings import ApiKey, AuthSettings, HttpSettings
from shared.views.scans import ScanView
from tests.unit.scanner.fakes import FakeCloud

HOME = "123456789012"
REGIONS = ["us-east-1", "eu-west-1"]
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
KEYS = [ApiKey(key=SecretStr("demo-key"), tenant="demo", user="demo")]


def a_request(**more):
    scan_id = new_id()
    facts = {
        "id": scan_id,
        "tenant": "demo",
        "occurred_at": datetime.now(UTC),
        "scan_id": scan_id,
        "requested_by": "ann",
    }
    return ScanRequested(**{**facts, **more})


class World:
    def __init__(self, kafka, mongo_settings, aws):
        self.kafka, self.mongo_settings, self.aws = kafka, mongo_settings, aws
        self.mongo = Mongo(mongo_settings)
        self.publisher = KafkaEventPublisher(kafka)

    @asynccontextmanager
    async def scanner(self, **options):
        group = {
            "accounts": [AccountSettings(id=HOME, name="sandbox")],
            "regions": REGIONS,
            "poll_seconds": 0.05,
            "lease_seconds": 3,
            "renew_seconds": 0.2,
            "retry_seconds": 0.01,
            "drain_seconds": 0.1,
            **options.pop("group", {}),
        }
        settings = ScannerSettings(
            kafka=self.kafka,
            mongo=self.mongo_settings,
            aws=self.aws,
            http=HttpSettings(port=0),
            auth=AuthSettings(api_keys=KEYS),
            scanner=ScannerGroup(**group),
        )
        app = build_app(settings, **options)
        try:
            for part in app.resources:
                await part.start()
            yield app
        finally:
            for part in reversed(app.resources):
                await part.stop()

    async def ask(self, request):
        await self.publisher.publish(request)
        return request.scan_id

    async def scan(
        self, scan_id, *, until=lambda scan: scan["completed_at"] is not None, seconds=20
    ):
        async with asyncio.timeout(seconds):
            while True:
                found = await self.mongo.database["scans"].find_one({"_id": scan_id})
                if found is not None and until(found):
                    return found
                await asyncio.sleep(0.02)

    async def identifiers(self, tenant="demo"):
        return sorted(
            [
                one["identifier"]
                async for one in self.mongo.database["resources"].find({"tenant": tenant})
            ]
        )

    async def results(self, scan_id, count):
        """The first `count` messages of one scan; they lie on several partitions."""
        consumer = AIOKafkaConsumer(
            "scan-results",
            bootstrap_servers=self.kafka.bootstrap_servers,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        found = []
        try:
            async with asyncio.timeout(10):
                async for message in consumer:
                    event = ScanResult.model_validate_json(message.value)
                    if event.scan_id == scan_id:
                        found.append((message, event))
                    if len(found) == count:
                        break
        finally:
            await consumer.stop()
        return found


class HalfStuck(FakeCloud):
    """Finishes one region; the other never answers."""

    async def enter(self, account):
        estate = await super().enter(account)
        look = estate.look

        async def look_or_hang(scope):
            if scope.region == "eu-west-1":
                await asyncio.sleep(3600)
            return await look(scope)

        estate.look = look_or_hang
        return estate


@pytest.fixture
async def world(kafka_settings, mongo_settings, aws_settings):
    httpx.post(f"{aws_settings.endpoint_url}/moto-api/reset", trust_env=False).raise_for_status()
    await apply_topics(kafka_settings)
    world = World(kafka_settings, mongo_settings, aws_settings)
    await world.mongo.start()
    await apply(world.mongo.database, COLLECTIONS)
    await world.publisher.start()
    yield world
    await world.publisher.stop()
    await world.mongo.stop()


def client_of(settings, service, region="us-east-1"):
    return boto3.client(
        service,
        region_name=region,
        endpoint_url=settings.endpoint_url,
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=settings.secret_access_key.get_secret_value(),
    )


async def test_found_then_vanished(world):
    ec2 = client_of(world.aws, "ec2", "eu-west-1")
    s3 = client_of(world.aws, "s3")
    [first, second] = [
        one["InstanceId"]
        for one in ec2.run_instances(ImageId="ami-12345678", MinCount=2, MaxCount=2)["Instances"]
    ]
    s3.create_bucket(Bucket="kept")
    s3.create_bucket(Bucket="dropped")
    async with world.scanner() as app:
        scan = await world.scan(await world.ask(a_request()))
        assert (
            scan["status"],
            scan["reason"],
            scan["discovered"],
            scan["upserted"],
            scan["deleted"],
        ) == ("completed", None, 4, 4, 0)
        assert sorted((one["region"], one["service"], one["status"]) for one in scan["scopes"]) == [
            ("eu-west-1", "ec2", "completed"),
            ("global", "s3", "completed"),
            ("us-east-1", "ec2", "completed"),
        ]
        assert await world.identifiers() == sorted([first, second, "dropped", "kept"])

        s3.delete_bucket(Bucket="dropped")
        again = await world.scan(await world.ask(a_request()))
        assert again["deleted"] == 1
        assert await world.identifiers() == sorted([first, second, "kept"])
        view = ScanView.from_document(again)
        assert (view.scan_id, view.deleted, len(view.scopes)) == (again["_id"], 1, 3)

        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app.web), base_url="http://scanner"
        ) as client:
            assert (await client.get("/v1/scanners")).status_code == 401
            shown = (await client.get("/v1/scanners", headers={"X-API-Key": "demo-key"})).json()[
                "items"
            ]
            assert [(one["service"], one["listed"]) for one in shown] == [
                ("ec2", "per region"),
                ("s3", "per account"),
            ]
            assert "ec2:StartInstances" in shown[0]["iam_actions"]
            assert (await client.get("/health/ready")).status_code == 200

    told = await world.results(scan["_id"], 4)
    assert {message.key.decode() for message, event in told if event.type == "scope.finished"} == {
        f"{HOME}/us-east-1/ec2",
        f"{HOME}/eu-west-1/ec2",
        f"{HOME}/global/s3",
    }
    [end] = [event for _, event in told if event.type == "scan.finished"]
    assert (end.status, end.discovered, end.upserted, end.key()) == ("completed", 4, 4, scan["_id"])
    ids = [event.id for _, event in told]
    assert sorted(set(ids)) == sorted(ids)


async def test_the_trace_of_the_request_is_kept(world):
    request = a_request(services=["ec2"])
    headers = {**request.cloudevents_headers(), "traceparent": TRACE.encode()}
    async with world.scanner(cloud=FakeCloud({})):
        await world.publisher.send_raw(
            "scan-requested", request.key().encode(), request.model_dump_json().encode(), headers
        )
        scan = await world.scan(request.scan_id)
    assert (scan["status"], scan["traceparent"]) == ("completed", TRACE)


async def test_one_scan_however_often_it_is_delivered(world):
    request = a_request(services=["ec2"])
    async with world.scanner():
        for _ in range(3):
            await world.ask(request)
        await world.scan(request.scan_id)
        await world.ask(request)
        last = await world.scan(await world.ask(a_request(services=["ec2"], tenant="demo")))
        assert last["status"] == "completed"
    assert await world.mongo.database["scans"].count_documents({}) == 2
    told = await world.results(request.scan_id, 3)
    assert sorted(event.type for _, event in told) == [
        "scan.finished",
        "scope.finished",
        "scope.finished",
    ]


async def test_two_tenants_are_apart(world):
    client_of(world.aws, "s3").create_bucket(Bucket="shared")
    async with world.scanner():
        for tenant in ("demo", "other"):
            await world.scan(await world.ask(a_request(tenant=tenant)))
        client_of(world.aws, "s3").delete_bucket(Bucket="shared")
        await world.scan(await world.ask(a_request(tenant="other")))
    assert await world.identifiers("demo") == ["shared"]
    assert await world.identifiers("other") == []


async def test_an_id_of_another_tenant_is_a_conflict_and_a_bad_message_a_dead_letter(world):
    request = a_request()
    async with world.scanner():
        await world.scan(await world.ask(request))
        await world.ask(request.model_copy(update={"tenant": "other"}))
        await world.publisher.send_raw(
            "scan-requested",
            b"bad",
            json.dumps({"scan_id": 5, "marker": request.scan_id}).encode(),
            {},
        )
        consumer = AIOKafkaConsumer(
            "scan-requested.dlq",
            bootstrap_servers=world.kafka.bootstrap_servers,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        reasons = []
        try:
            async with asyncio.timeout(15):
                async for message in consumer:
                    if request.scan_id.encode() in message.value:
                        reasons.append(dict(message.headers)["dlq-reason"].decode())
                    if len(reasons) == 2:
                        break
        finally:
            await consumer.stop()
    assert sorted(reasons) == ["id_conflict", "invalid_message"]
    assert (await world.scan(request.scan_id))["tenant"] == "demo"


async def test_a_stopped_scanner_hands_over_and_done_scopes_are_kept(world):
    answering = FakeCloud({f"{HOME}/us-east-1/ec2": ["i-1"]})
    async with world.scanner(cloud=HalfStuck({f"{HOME}/us-east-1/ec2": ["i-1"]})):
        scan_id = await world.ask(a_request(services=["ec2"]))
        await world.scan(scan_id, until=lambda scan: len(scan["scopes"]) == 1)
    handed = await world.scan(scan_id, until=lambda _: True)
    assert (handed["status"], handed["lease"]) == ("queued", None)
    async with world.scanner(cloud=answering):
        scan = await world.scan(scan_id)
    assert (scan["status"], len(scan["scopes"]), scan["recoveries"]) == ("completed", 2, 0)
    assert [str(one) for one in answering.looked] == [f"{HOME}/eu-west-1/ec2"]
    told = await world.results(scan_id, 3)
    assert sorted(event.type for _, event in told) == [
        "scan.finished",
        "scope.finished",
        "scope.finished",
    ]


async def test_a_cancelled_scan_keeps_what_it_found(world):
    cloud = HalfStuck({f"{HOME}/us-east-1/ec2": ["i-1"]})
    async with world.scanner(cloud=cloud) as app:
        [work] = [part for part in app.resources if part.name == "work.scans"]
        scan_id = await world.ask(a_request(services=["ec2"]))
        await world.scan(scan_id, until=lambda scan: len(scan["scopes"]) == 1)
        assert await work.cancel(scan_id, tenant="demo", by="ann", reason="enough") == "marked"
        scan = await world.scan(scan_id)
    assert (scan["status"], scan["upserted"]) == ("cancelled", 1)
    assert await world.identifiers() == ["i-1"]
    [end] = [event for _, event in await world.results(scan_id, 2) if event.type == "scan.finished"]
    assert (end.status, end.upserted) == ("cancelled", 1)


async def test_a_scan_whose_lease_was_lost_is_dropped_and_taken_up_anew(world):
    """The lease is taken away as if the owner had been silent for too long."""
    cloud = FakeCloud({f"{HOME}/us-east-1/ec2": ["i-1"]}, latency=3600)
    async with world.scanner(cloud=cloud):
        scan_id = await world.ask(a_request(services=["ec2"]))
        async with asyncio.timeout(20):
            while not cloud.looked:
                await asyncio.sleep(0.02)
        cloud.latency = 0
        await world.mongo.database["scans"].update_one(
            {"_id": scan_id},
            {"$set": {"lease.owner": "dead", "lease.until": datetime(2020, 1, 1, tzinfo=UTC)}},
        )
        scan = await world.scan(scan_id)
    assert (scan["status"], scan["recoveries"], len(scan["scopes"])) == ("completed", 1, 2)
    assert cloud.looks == 0, "the first look was given up"
