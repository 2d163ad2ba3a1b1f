"""Every scanner there is."""

from services.scanner.aws.base import ServiceScanner
from services.scanner.aws.ec2 import Ec2Instances
from services.scanner.aws.s3 import S3Buckets
from shared.registry import Registry

SCANNERS: tuple[ServiceScanner, ...] = (Ec2Instances(), S3Buckets())


def build() -> Registry[ServiceScanner]:
    """Scanners by the name of their service."""
    return Registry("service", ((scanner.service, scanner) for scanner in SCANNERS))
