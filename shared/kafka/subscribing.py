"""How ordinary consumers subscribe, decided once.

FastStream acknowledges before the handler runs unless told otherwise, its `reject` commits and its `nack` seeks back at
once and without end. So the acknowledgement is manual here and belongs to `delivery_middleware.py`, which commits
exactly the message that was handled or dead-lettered. Every subscriber of a service is declared with

    @router.subscriber("scan-requested", **at_least_once("scanner"))
"""

from typing import Any

from faststream import AckPolicy

from shared.settings import KafkaSettings

MAX_POLL_INTERVAL_MS = 7 * 24 * 3600 * 1000
"""Waiting for a dependency that is away must not cost the membership; heartbeats tell whether the process lives."""


def at_least_once(
    group: str, *, settings: KafkaSettings | None = None, instance_id: str | None = None
) -> dict[str, Any]:
    """Options of a subscriber that loses nothing: offsets move after handling, a new group begins at the beginning.

    `instance_id` makes the membership static: a restart within the session time-out causes no rebalance, but a member
    that is gone for good keeps its partitions that long.
    """
    session_ms = (settings or KafkaSettings()).session_timeout_ms
    return {
        "group_id": group,
        "group_instance_id": instance_id,
        "ack_policy": AckPolicy.MANUAL,
        "auto_offset_reset": "earliest",
        "no_reply": True,
        "session_timeout_ms": session_ms,
        "heartbeat_interval_ms": min(3_000, session_ms // 4),
        "max_poll_interval_ms": MAX_POLL_INTERVAL_MS,
    }
