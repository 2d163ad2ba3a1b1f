import asyncio
import threading

import boto3
import httpx
import pytest

from services.scanner.aws import registry
from services.scanner.aws.session import AwsCloud
from services.scanner.errors import AwsBusy, AwsRefused, WrongAccount
from services.scanner.models import GLOBAL, Account, Scope

HOME = Account("123456789012", "sandbox")
AWAY = Account("222222222222", "away", role_arn="arn:aws:iam::222222222222:role/scanner")


def client_of(settings, service, region="us-east-1", **credentials):
    credentials = credentials or {
        "aws_access_key_id": settings.access_key_id,
        "aws_secret_access_key": settings.secret_access_key.get_secret_value(),
    }
    return boto3.client(
        service, region_name=region, endpoint_url=settings.endpoint_url, **credentials
    )


@pytest.fixture
def estate_settings(aws_settings):
    httpx.post(f"{aws_settings.endpoint_url}/moto-api/reset", trust_env=False).raise_for_status()
    return aws_settings


@pytest.fixture
async def cloud(estate_settings):
    cloud = AwsCloud(estate_settings, scanners=registry.build(), max_calls=8, call_timeout=10)
    yield cloud
    await cloud.stop()


async def test_instances_are_found_in_their_region_with_tags(cloud, estate_settings):
    ec2 = client_of(estate_settings, "ec2", "eu-west-1")
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "shop"}]}]
    made = ec2.run_instances(ImageId="ami-12345678", MinCount=3, MaxCount=3, TagSpecifications=tags)
    ids = sorted(one["InstanceId"] for one in made["Instances"])
    estate = await cloud.enter(HOME)
    found = await estate.look(Scope(HOME.id, "eu-west-1", "ec2"))
    assert sorted(one.identifier for one in found.resources) == ids
    assert {one.name for one in found.resources} == {"shop"}
    assert {one.region for one in found.resources} == {"eu-west-1"}
    assert found.whole
    assert (await estate.look(Scope(HOME.id, "eu-central-1", "ec2"))).resources == []


async def test_buckets_are_found_once_with_their_own_regions(cloud, estate_settings):
    s3 = client_of(estate_settings, "s3")
    s3.create_bucket(Bucket="at-home")
    s3.create_bucket(
        Bucket="far-away", CreateBucketConfiguration={"LocationConstraint": "ap-south-1"}
    )
    s3.put_bucket_tagging(Bucket="far-away", Tagging={"TagSet": [{"Key": "a.b", "Value": "$x"}]})
    found = await (await cloud.enter(HOME)).look(Scope(HOME.id, GLOBAL, "s3"))
    assert {one.identifier: (one.region, dict(one.tags)) for one in found.resources} == {
        "at-home": ("us-east-1", {}),
        "far-away": ("ap-south-1", {"a.b": "$x"}),
    }


async def test_regions_are_those_open_to_the_account(cloud):
    regions = await (await cloud.enter(HOME)).regions()
    assert {"us-east-1", "eu-west-1"} <= set(regions)


async def test_a_role_leads_into_another_account(cloud, estate_settings):
    client_of(estate_settings, "s3").create_bucket(Bucket="of-home")
    estate = await cloud.enter(AWAY)
    assert (await estate.look(Scope(AWAY.id, GLOBAL, "s3"))).resources == []


async def test_credentials_of_another_account_are_refused(cloud):
    with pytest.raises(WrongAccount, match="123456789012, not 999999999999"):
        await cloud.enter(Account("999999999999", "wrong"))


async def test_an_unknown_profile_is_a_refusal(cloud):
    with pytest.raises(AwsRefused, match="no-such-profile"):
        await cloud.enter(Account(HOME.id, "sandbox", profile="no-such-profile"))


async def test_an_unreachable_aws_is_busy(estate_settings):
    gone = estate_settings.model_copy(update={"endpoint_url": "http://127.0.0.1:9"})
    cloud = AwsCloud(gone, scanners=registry.build(), max_calls=2, call_timeout=1)
    with pytest.raises(AwsBusy):
        await cloud.enter(HOME)
    await cloud.stop()


async def test_a_cancelled_look_asks_for_no_further_page(cloud):
    asked, going_on = [], threading.Event()

    class Endless:
        service, resource_types, is_global, iam_actions, fetch_actions = "ec2", (), False, (), ()

        def fetch(self, client):
            while True:
                asked.append(1)
                going_on.wait(0.02)
                yield []

    estate = await cloud.enter(HOME)
    estate._scanners = type("Registry", (), {"get": lambda _, name: Endless()})()
    task = asyncio.create_task(estate.look(Scope(HOME.id, "us-east-1", "ec2")))
    while not asked:
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0.1)
    before = len(asked)
    await asyncio.sleep(0.1)
    assert len(asked) == before
