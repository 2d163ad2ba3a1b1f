"""Every crash point of the code, and what makes a process reach it. `tests/architecture` keeps it complete.

A chain is served by one platform: a process is started with the first point armed, is given load, dies there; the next
one is started with the next point armed, takes over what is left and gets load of its own; the last one is not armed.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """`reach` names the method of the harness that makes a process come by; `most` is the highest visit to stop at."""

    name: str
    reach: str = "mixed"
    most: int = 3


INGESTION = (
    Point("ingest.before_children", most=2),
    Point("ingest.after_children", most=2),
    Point("ingest.after_items", most=2),
    Point("ingest.started", "one_by_one", most=2),
    Point("batches.before_commit", most=2),
    Point("batches.after_commit", most=2),
    Point("cancel.after_tombstone", "cancel_first", most=1),
    Point("ingest.before_bury", "cancel_first", most=1),
    Point("ingest.after_bury", "cancel_first", most=1),
    Point("cancel.before_update", "cancel_running", most=1),
    Point("cancel.after_update", "cancel_running", most=1),
    Point("cancel.after_end", "cancel_queued", most=1),
    Point("cancel.after_mark", "cancel_running", most=1),
    Point("claim.before_update", "crowd", most=2),
    Point("claim.after_update", "crowd", most=2),
    Point("claim.after_read", "crowd", most=2),
    Point("delivery.after_dead_letter", "unreadable", most=1),
)
WORK = (
    Point("group_commit.before.execution_steps"),
    Point("group_commit.after.execution_steps"),
    Point("group_commit.before.executions"),
    Point("group_commit.after.executions"),
    Point("logs.before_store"),
    Point("logs.before_publish"),
    Point("artifact.after_bytes", most=1),
    Point("artifact.after_document", most=1),
    Point("cases.after_store", most=1),
    Point("finish.before_submit"),
    Point("finish.after_submit"),
    Point("outbox.before_publish"),
    Point("outbox.after_publish"),
    Point("outbox.before_clear"),
    Point("outbox.after_clear"),
    Point("renew.before_update", "long", most=2),
    Point("renew.after_update", "long", most=2),
    # what the last one held is lost, until its leases run out
    Point("recover.before_update", "lost", most=1),
    Point("recover.after_update", "lost", most=1),
    Point("recovery.after_stamp", "lost", most=1),
    Point("recovery.after_fence", "lost", most=1),
    Point("recovery.after_lost", "lost", most=1),
    Point("hand_back.before_update", "orphan", most=1),
    Point("hand_back.after_update", "orphan", most=1),
    Point("give_back.before_submit", "terminate", most=1),
    Point("give_back.after_submit", "terminate", most=1),
)
WAITING = (
    Point("step.before_memory", "wakes", most=2),
    Point("step.after_memory", "wakes", most=2),
    Point("wait.before_submit", "wakes", most=2),
    Point("wait.after_submit", "wakes", most=2),
    Point("wait.before_look_applied", "wakes", most=2),
    Point("wait.after_look_applied", "wakes", most=2),
    Point("wake.before_store", "wakes", most=2),
    Point("wake.after_store", "wakes", most=2),
    Point("wake.before_update", "wakes", most=2),
    Point("wake.after_update", "wakes", most=2),
    Point("wake.after_apply", "wakes", most=2),
    Point("cancel.after_marked", "cancel_waiting", most=1),
    Point("family.before_told", "lanes", most=2),
    Point("family.after_told", "lanes", most=2),
)
GATEWAY = (
    Point("gateway.accepted", most=2),
    Point("relay.claimed", most=1),
    Point("relay.published", most=1),
    Point("relay.marked", most=1),
    Point("gateway.published", most=2),
    Point("gateway.marked", most=2),
    Point("reconciler.before_settle", most=1),
    Point("reconciler.settled", most=1),
    Point("reconciler.before_reopen", "overlooked", most=1),
    Point("reconciler.reopened", "overlooked", most=1),
)
EXTRACTOR = (
    Point("extract.after_add", most=2),
    Point("extract.after_ask", most=1),
    Point("extract.after_version", most=2),
    Point("extract.after_row", most=2),
    Point("extract.after_delta", most=2),
    Point("extract.after_copy", most=2),
    Point("extract.before_finish", most=2),
    Point("group_commit.before.extractions", most=2),
    Point("group_commit.after.extractions", most=2),
    Point("extract.before_reopen", most=2),
    Point("extract.after_reopen", most=2),
    Point("index.after_generation", most=1),
    Point("index.after_manifest", most=1),
    Point("index.after_publish", most=1),
    Point("index.after_deltas", most=1),
    Point("index.after_forget", most=1),
)
CHAINS = {
    "ingestion": INGESTION,
    "work": WORK,
    "waiting": WAITING,
    "gateway": GATEWAY,
    "extractor": EXTRACTOR,
}
ELSEWHERE = {
    "redrive.after_note": "tests/integration/kafka/test_dead_letters.py",
    "redrive.after_send": "tests/integration/kafka/test_dead_letters.py",
    "ingest.after_election": "tests/integration/work/test_ingest_failover.py",
    **dict.fromkeys(
        (
            *(
                f"slots.{when}_{what}"
                for what in ("take", "confirm", "refuse", "release")
                for when in ("before", "after")
            ),
            *(
                "slots.after_block",
                "slots.after_drop",
                "slots.before_unblock",
                "slots.after_unblock",
            ),
            *("expiry.before_update", "expiry.after_update"),
        ),
        "tests/integration/work/test_keys.py",
    ),
    "worker.before_want": "tests/integration/work/test_keys.py",
    "worker.after_want": "tests/integration/work/test_keys.py",
    "retention.after_bytes": "tests/integration/executor/test_retention.py",
    "retention.after_children": "tests/integration/executor/test_retention.py",
    "history.after_store": "tests/integration/executor/test_history.py",
    "keep.after_mark": "tests/integration/executor/test_keeping.py",
    "keep.after_bytes": "tests/integration/executor/test_keeping.py",
    **dict.fromkeys(
        (
            "schedule.after_claim",
            "schedule.before_add",
            "schedule.after_add",
            "schedule.after_advance",
        ),
        "tests/promises/test_schedules.py",
    ),
    "sources.recorded": "tests/promises/test_sources.py",
    "sources.filled": "tests/promises/test_sources.py",
    "upload.begun": "tests/integration/gateway/test_uploads_killed.py",
    "upload.stored": "tests/integration/gateway/test_uploads_killed.py",
    "upload.removing": "tests/integration/gateway/test_uploads_killed.py",
    "upload.removed": "tests/integration/gateway/test_uploads_killed.py",
    "scan.after_upsert": "tests/flow/test_proxy_and_scanner_killed.py",
    "scan.after_sweep": "tests/flow/test_proxy_and_scanner_killed.py",
    "scan.after_record": "tests/flow/test_proxy_and_scanner_killed.py",
    "group_commit.before.scans": "tests/flow/test_proxy_and_scanner_killed.py",
    "group_commit.after.scans": "tests/flow/test_proxy_and_scanner_killed.py",
    "proxy_outbox.before_publish": "tests/flow/test_proxy_and_scanner_killed.py",
    "proxy_outbox.after_publish": "tests/flow/test_proxy_and_scanner_killed.py",
}
"""Points whose service has a platform of its own: the test that stops there."""
