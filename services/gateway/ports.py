"""What the gateway's use cases need from outside. `repository/` implements it on MongoDB, `bootstrap.py` on Kafka."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from services.gateway.models import (
    Accepted,
    Buried,
    CaseFilter,
    ExecutionFilter,
    Kept,
    LogFilter,
    Page,
    Publication,
    ResourceFilter,
)
from shared.errors import CadenzaError
from shared.views.executions import (
    ArtifactView,
    ExecutionHistory,
    ExecutionSummary,
    ExecutionView,
    LogView,
    StepHistory,
    StepState,
    StepView,
)
from shared.views.extractions import ExtractionView
from shared.views.scans import ScanView
from shared.views.tenant_values import SecretView
from shared.views.uploads import UploadView


class AcceptedEvents(Protocol):
    """The outbox and idempotency record. Everything raises StorageUnavailable when the database does not answer."""

    async def add(self, record: Accepted) -> bool:
        """Durable on a majority when it returns True; False when the idempotency key is taken. Raises Overloaded."""
        ...

    async def by_key(self, tenant: str, key: str) -> Accepted | None:
        """The request that holds this idempotency key."""
        ...

    async def release_key(self, id: str) -> None:
        """Let the key be used again; the request stays."""
        ...

    async def release_keys(self, before: datetime) -> int:
        """Let all keys be used again that expired before this moment; returns how many."""
        ...

    async def find(self, tenant: str, topic: str, id: str) -> Accepted | None: ...

    async def claim_pending(
        self,
        owner: str,
        *,
        accepted_before: datetime,
        now: datetime,
        until: datetime,
        limit: int,
    ) -> list[Accepted]:
        """Take unpublished requests, oldest first; other owners leave them alone until `until`."""
        ...

    async def mark(self, publications: Sequence[Publication], at: datetime) -> None:
        """Note what was published or refused."""
        ...

    async def unsettled(self, published_before: datetime, limit: int) -> list[Accepted]:
        """Published run requests of which it is not known whether an execution came."""
        ...

    async def settle(self, ids: Sequence[str]) -> None: ...

    async def backlog(self) -> tuple[int, datetime | None]:
        """How many requests are not on Kafka yet, and when the oldest of them was accepted."""
        ...

    async def reopen(self, ids: Sequence[str]) -> None:
        """Publish these once more."""
        ...


class MessageSender(Protocol):
    """Puts messages on their topics, in the order given for each key."""

    async def send_many(
        self, messages: Sequence[Accepted]
    ) -> Sequence[tuple[int, int] | CadenzaError]:
        """For each partition and offset, or BrokerUnavailable, or for good TooLarge."""
        ...


class Outbox(Protocol):
    """Publishes what has become durable, soon and in the background."""

    def offer(self, record: Accepted) -> None: ...


class GroupProgress(Protocol):
    """How far a consumer group has come."""

    async def committed(self, group: str, topic: str) -> Mapping[int, int]:
        """Partition → next offset to be read. Raises BrokerUnavailable."""
        ...


class DeadLetters(Protocol):
    """Messages that a consumer could not handle."""

    async def of_keys(
        self, topic: str, keys: Collection[str], *, since: datetime
    ) -> Sequence[Buried]:
        """The dead letters of a topic with one of these keys. Raises BrokerUnavailable."""
        ...


class Executions(Protocol):
    """The executor's documents, read only. Another tenant's ids are unknown ones."""

    async def get(self, tenant: str, execution_id: str) -> ExecutionView | None: ...

    async def existing(self, ids: Sequence[str]) -> set[str]:
        """Which of these ids have a document, whoever's they are."""
        ...

    async def list(
        self, tenant: str, wanted: ExecutionFilter, *, after: str | None, limit: int
    ) -> Page: ...

    async def steps(self, tenant: str, execution_id: str, *, after: int, limit: int) -> Page: ...

    async def step(self, tenant: str, execution_id: str, step: str) -> StepView | None:
        """By its name, or else by its number."""
        ...

    async def step_states(self, tenant: str, execution_id: str) -> Sequence[StepState]:
        """All steps in plan order."""
        ...

    async def family(self, tenant: str, first: str, *, after: str | None, limit: int) -> Page: ...

    async def newest_of(self, tenant: str, first: str) -> ExecutionSummary | None:
        """The newest rerun of the row; None when there is none."""
        ...

    async def artifacts(
        self, tenant: str, execution_id: str, *, after: str | None, limit: int
    ) -> Page: ...

    async def artifact(
        self, tenant: str, execution_id: str, artifact_id: str
    ) -> ArtifactView | None: ...

    async def metrics(
        self, tenant: str, execution_id: str, *, cursor: str | None, limit: int
    ) -> Page: ...


class Cases(Protocol):
    """The executor's test cases, read only."""

    async def find(
        self, tenant: str, execution_id: str, wanted: CaseFilter, *, after: str | None, limit: int
    ) -> Page: ...


class Histories(Protocol):
    """What the event stream of a run is built from again."""

    async def history(self, tenant: str, execution_id: str) -> ExecutionHistory | None: ...

    async def step_histories(
        self, tenant: str, execution_id: str, after: int
    ) -> Sequence[StepHistory]:
        """Steps with a transition beyond the sequence `after`."""
        ...

    async def logs(
        self, tenant: str, execution_id: str, wanted: LogFilter, *, after: int, limit: int
    ) -> Sequence[LogView]:
        """Chunks numbered above `after`, in order."""
        ...

    async def newest_chunk(self, tenant: str, execution_id: str) -> int:
        """The highest number of a chunk that is stored, whether it counts or not; 0 when there is none."""
        ...


class Scans(Protocol):
    """The scanner's documents, read only."""

    async def get(self, tenant: str, scan_id: str) -> ScanView | None: ...

    async def list(self, tenant: str, *, after: str | None, limit: int) -> Page: ...

    async def resources(
        self, tenant: str, wanted: ResourceFilter, *, after: str | None, limit: int
    ) -> Page: ...


class Extractions(Protocol):
    """The extractor's documents, read only."""

    async def get(
        self, tenant: str, customer_id: str, execution_id: str
    ) -> ExtractionView | None: ...


class TenantValues(Protocol):
    """Secrets (sealed) or variables of tenants, by name. Raises StorageUnavailable."""

    async def put(self, tenant: str, name: str, value: bytes | str, *, by: str) -> SecretView:
        """Set or replace; durable when it returns."""
        ...

    async def list(self, tenant: str, *, after: str | None, limit: int) -> Page: ...

    async def remove(self, tenant: str, name: str) -> bool:
        """False when there was none."""
        ...

    async def names(self, tenant: str) -> frozenset[str]: ...


class UploadRecords(Protocol):
    """What was uploaded. Every method may be called again after StorageUnavailable."""

    async def begin(self, id: str, tenant: str, *, key: str, expires_at: datetime) -> None:
        """Bytes are about to be stored under `key`."""
        ...

    async def finish(self, id: str, view: UploadView, *, uri: str) -> bool:
        """They are stored. False when the tenant has this content already: then nothing has changed."""
        ...

    async def find(self, tenant: str, sha256: str) -> Kept | None: ...

    async def list(self, tenant: str, *, after: str | None, limit: int) -> Page: ...

    async def prolong(self, tenant: str, sha256: Sequence[str], until: datetime) -> None: ...

    async def begin_removal(self, tenant: str, sha256: str, *, until: datetime) -> Kept | None:
        """From here on it is not there for others; None when it was not."""
        ...

    async def drop(self, id: str) -> None:
        """Forget a record whose bytes are gone; one that is stored stays."""
        ...

    async def expired(self, moment: datetime, *, limit: int) -> Sequence[Kept]: ...

    async def left_over(self, moment: datetime, *, limit: int) -> Sequence[Kept]:
        """Neither stored nor gone, and nobody has been at it since."""
        ...

    async def last_used(self, tenant: str, sha256: str) -> datetime | None:
        """When the last run was accepted that used it."""
        ...
