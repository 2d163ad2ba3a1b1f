"""EC2 instances of one region."""

from collections.abc import Iterable, Iterator
from typing import Any

from services.scanner.aws.base import Page, tags_of
from services.scanner.models import Place, Problem, Raw, Resource

GONE = frozenset({"terminated", "shutting-down"})


class Ec2Instances:
    """`ec2 describe-instances`."""

    service = "ec2"
    resource_types = ("ec2_instance",)
    is_global = False
    iam_actions = (
        "ec2:DescribeInstances",
        "ec2:StartInstances",
        "ec2:StopInstances",
        "ec2:RebootInstances",
        "ec2:TerminateInstances",
        "ec2:ModifyInstanceAttribute",
    )
    fetch_actions = ("ec2:DescribeInstances",)

    def fetch(self, client: Any) -> Iterator[Page]:
        for page in client.get_paginator("describe_instances").paginate():
            yield [
                instance
                for reservation in page["Reservations"]
                for instance in reservation["Instances"]
            ]

    def transform(self, raw: Raw, place: Place) -> Resource:
        identifier = raw["InstanceId"]
        tags = tags_of(raw.get("Tags"))
        state = raw["State"]["Name"]
        return Resource(
            resource_type="ec2_instance",
            identifier=identifier,
            account_id=place.account.id,
            account_name=place.account.name,
            region=place.region,
            service=self.service,
            # instances come without an ARN of their own
            arn=f"arn:{place.partition}:ec2:{place.region}:{place.account.id}:instance/{identifier}",
            name=tags.get("Name") or identifier,
            state=state,
            tags=tags,
            metadata=_metadata(raw),
            constraints=_constraints(raw, state),
        )

    def problems(self, raw: Raw) -> Iterable[Problem]:  # noqa: ARG002 - one call brings it all
        return ()


def _metadata(raw: Raw) -> dict[str, Any]:
    launched = raw.get("LaunchTime")
    return {
        "instance_type": raw.get("InstanceType"),
        "private_ip": raw.get("PrivateIpAddress"),
        "public_ip": raw.get("PublicIpAddress"),
        "launch_time": launched.isoformat() if launched else None,
        "vpc_id": raw.get("VpcId"),
        "subnet_id": raw.get("SubnetId"),
        "security_groups": [
            {"id": group["GroupId"], "name": group.get("GroupName")}
            for group in raw.get("SecurityGroups") or ()
        ],
        "availability_zone": (raw.get("Placement") or {}).get("AvailabilityZone"),
        "image_id": raw.get("ImageId"),
    }


def _constraints(raw: Raw, state: str) -> dict[str, Any]:
    """As far as the instance itself tells. Its root volume goes with it and is no dependency."""
    root = raw.get("RootDeviceName")
    attached = [
        device["DeviceName"]
        for device in raw.get("BlockDeviceMappings") or ()
        if device["DeviceName"] != root
    ]
    return {
        "can_stop": state == "running",
        "can_start": state == "stopped",
        "can_delete": state not in GONE and not attached,
        "has_backups": False,
        "has_dependencies": bool(attached),
        "attached_volumes": len(attached),
    }
