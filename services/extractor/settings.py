"""Settings of the extractor: customers, how long it tries, where the lake lies, what a query may cost."""

from typing import Self

from pydantic import Field, SecretStr, model_validator

from services.extractor.lake.keys import SLUG
from shared.settings import Group, ServiceSettings


class CustomerSettings(Group):
    """One customer; its id is the key under which it stands."""

    slug: str = Field(pattern=SLUG)
    """Name in the lake's keys, such as `customer-001`."""
    tenant: str = Field(min_length=1)
    """Whose customer it is."""
    api_url: str = Field(pattern=r"^https?://\S+$")
    """Base address of its Virtuoso API, `/api` included."""
    token: SecretStr
    """Bearer token."""
    session_id: SecretStr | None = None
    """`X-V-SESSION-ID`; Virtuoso's own UI sends one, answers do not depend on it."""
    active: bool = True
    """Inactive customers are refused."""


class ExtractorGroup(Group):
    """Environment prefix `EXTRACTOR__`."""

    customers: dict[str, CustomerSettings] = {}
    """JSON object: customer id → `{slug, tenant, api_url, token, session_id?, active?}`. The collection `customers` is
    asked for those that are not here."""
    secrets: dict[str, dict[str, SecretStr]] = {}
    """JSON object: tenant → secret name → value, such as `virtuoso/customer-001/token`, for customers of the
    collection."""
    consumer_group: str = "extractor"
    """Kafka group; another name lets a second installation read the same topics."""
    lease_seconds: float = Field(60, gt=0)
    """How long an extraction stays with a process that says nothing."""
    renew_seconds: float = Field(10, gt=0)
    """Between two renewals; several must fit into a lease."""
    slots: int = Field(20, ge=1, le=1000)
    """Extractions at once in this process."""
    request_timeout_seconds: float = Field(30, gt=0)
    """For one whole answer of Virtuoso."""
    max_connections: int = Field(100, ge=1)
    """Open connections to Virtuoso, over all customers."""
    max_answer_bytes: int = Field(64 * 1024 * 1024, ge=1024)
    """Larger answers fail the extraction: they are held in memory."""
    retry_budget_seconds: float = Field(300, ge=0)
    """How long a call is repeated on 429, 5xx, time-outs and unreadable answers before the extraction fails."""
    unfinished_wait_seconds: float = Field(900, ge=0)
    """How long to wait for an execution that still runs; webhooks may come early."""
    unfinished_poll_seconds: float = Field(2, gt=0)
    """First pause between two looks at an execution that still runs; it doubles up to 30 s."""
    cache_seconds: float = Field(300, ge=0)
    """How long a customer's environments are believed."""
    drain_seconds: float = Field(5, ge=0)
    """How long extractions under way may end after SIGTERM; then they are given back."""
    lake_prefix: str = "{tenant}/lake"
    """Where the lake lies in the object store. Without `{tenant}` slugs must be unique over all tenants."""
    merge_seconds: float = Field(1.0, gt=0)
    """Pause between two merges of fresh rows into a customer's Parquet index; queries see fresh rows at once."""
    sweep_seconds: float = Field(60, gt=0)
    """How often to look for fresh rows that a stopped process left unmerged."""
    query_rows: int = Field(10_000, ge=1)
    """Most rows of one answer."""
    query_seconds: float = Field(20, gt=0)
    """Longest query."""
    query_memory: str = "512MB"
    """Memory of one query."""

    @model_validator(mode="after")
    def slugs_are_unambiguous(self) -> Self:
        """One key must not mean two customers."""
        shared = "{tenant}" not in self.lake_prefix
        seen: set[tuple[str, str]] = set()
        for customer in self.customers.values():
            place = ("" if shared else customer.tenant, customer.slug)
            if place in seen:
                raise ValueError(f"two customers have the slug '{customer.slug}'")
            seen.add(place)
        return self


class ExtractorSettings(ServiceSettings):
    """Everything the extractor reads from the environment."""

    extractor: ExtractorGroup = ExtractorGroup()
