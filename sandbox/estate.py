"""A small AWS estate in moto, so that a first scan finds something: EC2 instances and S3 buckets in two regions.

Spoken to over plain HTTP: loading an AWS SDK costs more time than all of this. moto reads the region and the service
from the request's signature and does not check the signature itself.
"""

import urllib.parse
import urllib.request
from collections.abc import Mapping

ACCOUNT = "123456789012"  # moto's default
INSTANCES = {
    "us-east-1": ("web-1", "web-2", "orders-db"),
    "eu-west-1": ("web-eu-1",),
}
BUCKETS = {
    "us-east-1": ("acme-shop-assets", "acme-shop-logs"),
    "eu-west-1": ("acme-shop-eu-backups",),
}
_IMAGE = "ami-12c6146b"  # one of those that moto always knows
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def furnish(endpoint: str) -> None:
    """Make the instances and buckets."""
    for region, names in INSTANCES.items():
        for name in names:
            _send(endpoint, "ec2", region, form=_instance(name))
    for region, names in BUCKETS.items():
        for name in names:
            _send(f"{endpoint}/{name}", "s3", region, body=_location(region))


def _instance(name: str) -> dict[str, str]:
    tag = "TagSpecification.1"
    return {
        "Action": "RunInstances",
        "Version": "2016-11-15",
        "ImageId": _IMAGE,
        "InstanceType": "t3.micro",
        "MinCount": "1",
        "MaxCount": "1",
        f"{tag}.ResourceType": "instance",
        f"{tag}.Tag.1.Key": "Name",
        f"{tag}.Tag.1.Value": name,
    }


def _location(region: str) -> bytes:
    """S3 names every region but its first one."""
    if region == "us-east-1":
        return b""
    return (
        f"<CreateBucketConfiguration><LocationConstraint>{region}</LocationConstraint>"
        "</CreateBucketConfiguration>"
    ).encode()


def _send(
    url: str,
    service: str,
    region: str,
    *,
    form: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> None:
    scope = f"testing/20260101/{region}/{service}/aws4_request"
    content = "application/x-www-form-urlencoded" if form else "application/xml"
    request = urllib.request.Request(
        url,
        data=urllib.parse.urlencode(form).encode() if form else body,
        method="POST" if form else "PUT",
        headers={
            "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
            "X-Amz-Date": "20260101T000000Z",
            "Content-Type": content,
        },
    )
    with _direct.open(request, timeout=30):
        pass
