"""What the scanner's use cases need from the world."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from services.scanner.models import Account, Found, Resource, Scope, ScopeResult
from shared.work.ports import Claim


class SupportedService(Protocol):
    """What a scanner says of itself."""

    @property
    def service(self) -> str:
        """Name in scopes and of the boto3 client."""
        ...

    @property
    def resource_types(self) -> tuple[str, ...]: ...

    @property
    def is_global(self) -> bool:
        """Listed once per account, whatever the regions."""
        ...

    @property
    def iam_actions(self) -> tuple[str, ...]:
        """Actions that matter for its resources; what the caller may do of them is asked elsewhere."""
        ...

    @property
    def fetch_actions(self) -> tuple[str, ...]:
        """What a role needs so that `fetch` works."""
        ...


class Estate(Protocol):
    """One account, entered."""

    async def regions(self) -> Sequence[str]:
        """The regions that are open to it. Raises Unavailable, AwsRefused or AwsBusy."""
        ...

    async def look(self, scope: Scope) -> Found:
        """Everything of one service in one region, with every page. Raises as `regions`, and UnsupportedService."""
        ...


class Cloud(Protocol):
    """The way into accounts."""

    async def enter(self, account: Account) -> Estate:
        """Take the account's credentials, and make sure that they are its own.

        Raises WrongAccount, AwsRefused or AwsBusy.
        """
        ...

    def services(self) -> Mapping[str, bool]:
        """What can be looked at: name → whether it is listed once per account instead of once per region."""
        ...


class Resources(Protocol):
    """What has been found so far, tenant by tenant."""

    async def server_time(self) -> datetime:
        """The clock that `sweep` compares with."""
        ...

    async def upsert(
        self, resources: Sequence[Resource], *, tenant: str, scope: Scope, scan_id: str
    ) -> int:
        """Store these as seen now; returns how many."""
        ...

    async def sweep(self, scope: Scope, *, tenant: str, unseen_since: datetime) -> int:
        """Delete what nobody has seen in the scope since then; returns how many."""
        ...


class Scans(Protocol):
    """What became of a scan's scopes."""

    async def record(self, claim: Claim, result: ScopeResult, *, at: datetime) -> None:
        """Store the result and its event in one write. Raises LostLease.

        A caller that is cancelled takes nothing back: the result is stored all the same.
        """
        ...
