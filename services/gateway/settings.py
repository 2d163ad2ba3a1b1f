"""Settings of the gateway: how requests are made durable, how they reach Kafka, how live views behave."""

import tempfile
from pathlib import Path

from pydantic import Field

from shared.settings import Group, ServiceSettings


class GatewayGroup(Group):
    """Environment prefix `GATEWAY__`."""

    storage_timeout_ms: int = Field(2_000, gt=0)
    """Longest single database operation; a caller is better off with a quick 503 than with a slow answer."""
    max_waiting_requests: int = Field(2_000, gt=0)
    """Requests that may wait for the database at once; further ones get 503 with `Retry-After`."""
    inline_plan_bytes: int = Field(256 * 1024, gt=0)
    """A larger plan goes to object storage; events stay small for every consumer."""
    idempotency_hours: float = Field(24, gt=0)
    """How long an `Idempotency-Key` is remembered."""
    relay_seconds: float = Field(1.0, gt=0)
    """Between two looks for requests that are not on Kafka yet."""
    relay_grace_seconds: float = Field(5.0, ge=0)
    """Younger requests are left to the process that accepted them, which publishes at once."""
    relay_claim_seconds: float = Field(30.0, gt=0)
    """How long one replica keeps the requests that it took for publication."""
    relay_batch: int = Field(500, gt=0)
    """Requests that the relay publishes in one turn."""
    reconcile_seconds: float = Field(30.0, gt=0)
    """Between two looks for published run requests of which no execution came."""
    reconcile_after_seconds: float = Field(60.0, ge=0)
    """A run request is given this long to become an execution."""
    max_republished: int = Field(3, ge=1)
    """After so many vain publications a run request counts as rejected."""
    max_upload_bytes: int = Field(256 * 1024 * 1024, ge=1024)
    """Of one upload. It passes through a file in `spool_dir`, not through memory."""
    uploads_at_once: int = Field(8, ge=1)
    """Uploads that are received at the same time; further ones get 503 with `Retry-After`."""
    spool_dir: Path = Path(tempfile.gettempdir())
    """Where uploads lie while they are received; room for `uploads_at_once` times `max_upload_bytes`."""
    keep_uploads_days: float = Field(30, gt=0)
    """How long an upload is kept after the last run that used it, or after it was last uploaded."""
    upload_sweep_seconds: float = Field(600, gt=0)
    """Between two looks for uploads that are no longer kept."""
    heartbeat_seconds: float = Field(15.0, gt=0)
    """Silence on an event stream before a comment is sent and the documents are looked at again."""
    stream_seconds: float = Field(600.0, gt=0)
    """Longest life of one event stream; the client is told to come back. Spreads the load over replicas."""
    stream_clients: int = Field(5_000, gt=0)
    """Clients that may follow runs at once; further ones get 503 with `Retry-After`. Each costs about 40 KB."""
    stream_queue: int = Field(512, gt=0)
    """Events that may wait for one slow client before it is cut off and told to come back."""
    stream_queue_bytes: int = Field(1 << 20, gt=0)
    """The same in bytes: a chunk of log lines is up to 64 KiB of text."""
    stream_stall_seconds: float = Field(20.0, gt=0)
    """A client whose connection takes nothing for this long is dropped with all that waits for it."""


class GatewaySettings(ServiceSettings):
    """Everything the gateway reads from the environment."""

    gateway: GatewayGroup = GatewayGroup()
