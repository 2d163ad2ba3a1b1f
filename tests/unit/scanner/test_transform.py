import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from services.scanner.aws import registry
from services.scanner.aws.ec2 import Ec2Instances
from services.scanner.aws.s3 import S3Buckets, region_of
from services.scanner.aws.session import look
from services.scanner.models import Account, Place, Problem

DATA = Path(__file__).parents[2] / "data" / "aws"
ACCOUNT = Account("123456789012", "sandbox")


class PagedClient:
    """Answers one paginated operation from prepared pages, and single calls from functions."""

    def __init__(self, pages, **calls):
        self.pages = pages
        self.calls = calls

    def get_paginator(self, operation):
        return self

    def paginate(self):
        for page in self.pages:
            if isinstance(page, Exception):
                raise page
            yield page

    def __getattr__(self, name):
        return self.calls[name]


def refused(code, status=400):
    return ClientError(
        {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}},
        "Op",
    )


def test_instances_of_a_recorded_answer():
    answer = json.loads((DATA / "ec2-describe-instances.json").read_text())
    found = look(
        Ec2Instances(), PagedClient([answer, {"Reservations": []}]), Place(ACCOUNT, "eu-west-1")
    )
    assert found.whole
    running, stopped = found.resources
    assert running.arn == "arn:aws:ec2:eu-west-1:123456789012:instance/i-0123456789abcdef0"
    assert (running.name, running.state, running.region, running.account_name) == (
        "shop",
        "running",
        "eu-west-1",
        "sandbox",
    )
    assert list(running.tags) == ["Name", "env"]
    assert running.metadata["security_groups"] == [{"id": "sg-1", "name": "web"}]
    assert running.constraints == {
        "can_stop": True,
        "can_start": False,
        "can_delete": False,
        "has_backups": False,
        "has_dependencies": True,
        "attached_volumes": 1,
    }
    assert (stopped.name, stopped.tags, stopped.constraints["can_start"]) == (
        "i-0fedcba9876543210",
        {},
        True,
    )


def test_arn_takes_the_partition():
    raw = {"InstanceId": "i-1", "State": {"Name": "running"}}
    place = Place(ACCOUNT, "cn-north-1", partition="aws-cn")
    assert Ec2Instances().transform(raw, place).arn.startswith("arn:aws-cn:ec2:cn-north-1:")


def test_times_become_text():
    raw = {
        "InstanceId": "i-1",
        "State": {"Name": "running"},
        "LaunchTime": datetime(2026, 1, 2, tzinfo=UTC),
    }
    assert (
        Ec2Instances().transform(raw, Place(ACCOUNT, "eu-west-1")).metadata["launch_time"]
        == "2026-01-02T00:00:00+00:00"
    )


def test_buckets_lie_where_their_location_says():
    buckets = json.loads((DATA / "s3-buckets.json").read_text())
    found = [S3Buckets().transform(raw, Place(ACCOUNT, "us-east-1")) for raw in buckets]
    assert [one.region for one in found] == ["us-east-1", "eu-west-1", "ap-south-1"]
    assert found[1].tags == {"team": "qa"}
    assert {one.state for one in found} == {"available"}
    assert found[0].arn == "arn:aws:s3:::first"


@pytest.mark.parametrize(
    ("location", "region"),
    [(None, "us-east-1"), ("", "us-east-1"), ("EU", "eu-west-1"), ("eu-north-1", "eu-north-1")],
)
def test_locations(location, region):
    assert region_of(location) == region


def test_bucket_details_degrade_field_by_field():
    def tags(Bucket):
        if Bucket == "none":
            raise refused("NoSuchTagSet", 404)
        raise refused("AccessDenied", 403)

    client = PagedClient(
        [{"Buckets": [{"Name": "none"}, {"Name": "denied"}]}],
        get_bucket_location=lambda Bucket: {"LocationConstraint": "eu-west-1"},
        get_bucket_tagging=tags,
    )
    found = look(S3Buckets(), client, Place(ACCOUNT, "us-east-1"))
    assert [one.identifier for one in found.resources] == ["none", "denied"]
    assert found.problems == [Problem("AccessDenied", "the tags of denied cannot be read")]
    assert found.whole, "a bucket without its tags is still seen"


def test_a_bucket_deleted_meanwhile_is_left_out():
    def location(Bucket):
        raise refused("NoSuchBucket", 404)

    client = PagedClient([{"Buckets": [{"Name": "gone"}]}], get_bucket_location=location)
    assert look(S3Buckets(), client, Place(ACCOUNT, "us-east-1")).resources == []


def test_a_bucket_whose_place_is_unknown_is_an_error():
    def location(Bucket):
        raise refused("AccessDenied", 403)

    client = PagedClient([{"Buckets": [{"Name": "b"}]}], get_bucket_location=location)
    with pytest.raises(ClientError):
        look(S3Buckets(), client, Place(ACCOUNT, "us-east-1"))


def test_an_unreadable_item_makes_the_look_incomplete():
    page = {
        "Reservations": [
            {
                "Instances": [
                    {"InstanceId": "i-1", "State": {"Name": "running"}},
                    {"InstanceId": "i-2"},
                ]
            }
        ]
    }
    found = look(Ec2Instances(), PagedClient([page]), Place(ACCOUNT, "eu-west-1"))
    assert [one.identifier for one in found.resources] == ["i-1"]
    assert not found.whole
    assert found.problems[0].code == "unreadable"


def test_a_lost_page_is_an_error_not_a_short_answer():
    page = {"Reservations": [{"Instances": [{"InstanceId": "i-1", "State": {"Name": "running"}}]}]}
    with pytest.raises(ClientError):
        look(
            Ec2Instances(),
            PagedClient([page, refused("InternalError", 500)]),
            Place(ACCOUNT, "eu-west-1"),
        )


def test_every_scanner_file_is_listed():
    folder = Path(registry.__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - {
        "__init__",
        "base",
        "registry",
        "session",
        "failures",
    }
    assert {scanner.service for scanner in registry.SCANNERS} == files
    assert len(registry.build()) == len(registry.SCANNERS)
