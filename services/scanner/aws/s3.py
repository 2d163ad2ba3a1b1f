"""S3 buckets of one account. AWS lists them once for all regions; where one lies is asked bucket by bucket."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import ClientError

from services.scanner.aws.base import Page, tags_of
from services.scanner.aws.failures import code_of, is_passing
from services.scanner.models import Place, Problem, Raw, Resource

DETAILS_AT_ONCE = 8
FIRST_REGION = "us-east-1"  # the one region that AWS calls null
OLD_NAMES = {"EU": "eu-west-1"}


class S3Buckets:
    """`s3api list-buckets`, then location and tags of each."""

    service = "s3"
    resource_types = ("s3_bucket",)
    is_global = True
    iam_actions = (
        "s3:ListBucket",
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:DeleteBucket",
    )
    fetch_actions = ("s3:ListAllMyBuckets", "s3:GetBucketLocation", "s3:GetBucketTagging")

    def fetch(self, client: Any) -> Iterator[Page]:
        with ThreadPoolExecutor(DETAILS_AT_ONCE, thread_name_prefix="s3-details") as pool:
            for page in client.get_paginator("list_buckets").paginate():
                detailed = pool.map(lambda bucket: _detailed(client, bucket), page["Buckets"])
                yield [bucket for bucket in detailed if bucket is not None]

    def transform(self, raw: Raw, place: Place) -> Resource:
        name = raw["Name"]
        region = region_of(raw["Location"])
        created = raw.get("CreationDate")
        return Resource(
            resource_type="s3_bucket",
            identifier=name,
            account_id=place.account.id,
            account_name=place.account.name,
            region=region,
            service=self.service,
            arn=f"arn:{place.partition}:s3:::{name}",
            name=name,
            state="available",
            tags=tags_of(raw.get("Tags")),
            metadata={"creation_date": created.isoformat() if created else None, "region": region},
            constraints={
                "can_stop": False,
                "can_start": False,
                "can_delete": False,  # whether it is empty is not known
                "has_backups": False,
                "has_dependencies": False,
            },
        )

    def problems(self, raw: Raw) -> Iterable[Problem]:
        problems: list[Problem] = raw.get("Problems", [])
        return problems


def region_of(location: str | None) -> str:
    """S3's own names for two regions, in everybody else's words."""
    return OLD_NAMES.get(location or FIRST_REGION, location or FIRST_REGION)


def _detailed(client: Any, bucket: Raw) -> Raw | None:
    """The bucket with location and tags; None when it was deleted meanwhile. Without a location there is no telling
    which bucket it is, so that failure loses the page; without tags it is still the bucket.
    """
    name = bucket["Name"]
    try:
        location = bucket.get("BucketRegion") or client.get_bucket_location(Bucket=name).get(
            "LocationConstraint"
        )
        return {**bucket, "Location": location, **_tags(client, name)}
    except ClientError as error:
        if code_of(error) == "NoSuchBucket":
            return None
        raise


def _tags(client: Any, name: str) -> dict[str, Any]:
    try:
        return {"Tags": client.get_bucket_tagging(Bucket=name)["TagSet"]}
    except ClientError as error:
        code = code_of(error)
        if code == "NoSuchTagSet":
            return {"Tags": []}
        if code == "NoSuchBucket" or is_passing(error):
            raise
        return {"Tags": [], "Problems": [Problem(code, f"the tags of {name} cannot be read")]}
