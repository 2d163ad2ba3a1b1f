"""What the use cases need of the world."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from services.extractor.lake.records import Record
from services.extractor.lake.writer import Stored
from services.extractor.models import Access, Answer, Customer, Json


class Source(Protocol):
    """Virtuoso. 404, 401 and 403 come back as answers; what stays unreachable within the budget is a TransientError."""

    async def execution(self, access: Access, execution_id: int) -> Answer: ...

    async def journey(self, access: Access, journey_id: int) -> Answer: ...

    async def goal(self, access: Access, goal_id: int) -> Answer: ...

    async def environments(self, access: Access, project_id: int) -> Answer: ...


class Customers(Protocol):
    """Whose executions are extracted."""

    async def find(self, tenant: str, name: str) -> Customer:
        """By id or slug. Raises UnknownCustomer; inactive ones are found."""
        ...

    async def of_tenant(self, tenant: str) -> list[Customer]:
        """All of a tenant's customers, inactive ones included, in order of slug."""
        ...

    async def everybody(self) -> list[Customer]:
        """All customers of all tenants; for upkeep, never for an answer."""
        ...


class Lake(Protocol):
    """Where records go."""

    async def store(self, record: Record, *, fence: int, confirmed: int | None) -> Stored:
        """`fence` rises with every claim of an extraction. Raises Overtaken when a higher one has written."""
        ...


class Extractions(Protocol):
    """What is known of extractions beside the queue: reading, and asking for one again."""

    async def ask_again(self, id: str, *, event_id: str) -> bool:
        """Have an extraction that is there done once more; False when this event has asked already."""
        ...

    async def reopen(self, id: str | None = None) -> int:
        """Queue again what was asked for while it was being worked on, all or the one; returns how many."""
        ...

    async def get(self, id: str) -> Mapping[str, Any] | None: ...

    async def page(
        self,
        tenant: str,
        *,
        customer: str | None,
        status: str | None,
        after: str | None,
        limit: int,
    ) -> Sequence[Json]:
        """Newest first; `after` is the cursor that the last entry of a page carries."""
        ...
