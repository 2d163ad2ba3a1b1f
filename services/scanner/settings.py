"""Settings of the scanner: which accounts, which regions, how much at once."""

from pydantic import Field

from shared.settings import Group, ServiceSettings


class AccountSettings(Group):
    """One AWS account that may be scanned."""

    id: str = Field(pattern=r"^\d{12}$")
    name: str = Field(min_length=1)
    role_arn: str | None = None
    """Role to assume; None: the credentials are used as they are."""
    profile: str | None = None
    """Profile of the AWS configuration to start from."""
    tenants: list[str] = []
    """Tenants that may scan it; empty: every tenant."""


class ScannerGroup(Group):
    """Environment prefix `SCANNER__`."""

    accounts: list[AccountSettings] = []
    """A JSON list: `[{"id": "123456789012", "name": "sandbox", "role_arn": null, "profile": null}]`."""
    consumer_group: str = "scanner"
    """Kafka group; another name lets a second installation read the same topics."""
    regions: list[str] = []
    """Regions to look at when a scan names none; empty: those that are open to the account."""
    max_regions: int = Field(10, ge=1, le=100)
    """Regions of one account that are looked at at the same time."""
    max_services: int = Field(10, ge=1, le=100)
    """Services of one region that are looked at at the same time."""
    max_calls: int = Field(32, ge=1, le=500)
    """Threads that talk to AWS at the same time, over all scans: the bound on all nested limits together."""
    max_scans: int = Field(4, ge=1, le=100)
    """Scans that this process holds at the same time."""
    call_timeout_seconds: float = Field(120, gt=0)
    """For one call to AWS, its own retries not included."""
    attempts: int = Field(3, ge=1, le=10)
    """How often a scope is looked at when AWS is throttling or does not answer."""
    retry_seconds: float = Field(1, ge=0)
    """Before the second look; doubled before each further one, with jitter."""
    lease_seconds: float = Field(60, gt=0)
    """How long a silent scanner keeps its scans."""
    renew_seconds: float = Field(10, gt=0)
    """How often leases are renewed, and cancel marks seen."""
    poll_seconds: float = Field(1, gt=0)
    """How often to look for queued scans when nothing wakes the scanner, and to go on while the database is away."""
    drain_seconds: float = Field(5, ge=0)
    """How long scans under way may end after SIGTERM; then they are given back."""


class ScannerSettings(ServiceSettings):
    """Everything the scanner reads from the environment."""

    scanner: ScannerGroup = ScannerGroup()
