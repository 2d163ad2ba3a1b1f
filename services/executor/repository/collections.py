"""Collections of the executor and their indexes.

Indexes of the schema document stand with the tenant in front, because every query carries it. Its `execution_id` index
of `execution_steps` is left out: it is a prefix of the unique one. `_id` of `executions` is the execution id, so that
its unique index is the one every collection has.
"""

from shared.mongo.indexes import CollectionSpec, Index, TimeSeries
from shared.views.queue import SLOTS
from shared.views.schedules import SCHEDULE_STATES
from shared.views.workers import WORKERS
from shared.work.indexes import CHILD_INDEXES, WAIT_INDEXES, WAKES_INDEXES, WORK_INDEXES

EXECUTIONS = "executions"
STEPS = "execution_steps"
LOGS = "execution_logs"
ARTIFACTS = "execution_artifacts"
METRICS = "execution_metrics"
CASES = "execution_test_cases"
SWEEPS = "execution_sweeps"
WAKES = "execution_wakes"
LINES = "tenant_queues"
FORGOTTEN_SECONDS = 3600
"""How long a worker that ended without a word stays in the list."""
IMPORTS = "history_imports"
METRICS_SECONDS = 30 * 24 * 3600

COLLECTIONS: tuple[CollectionSpec, ...] = (
    CollectionSpec(
        EXECUTIONS,
        indexes=(
            *WORK_INDEXES,
            *WAIT_INDEXES,
            Index([("tenant", 1), ("created_at", -1), ("_id", -1)]),
            Index([("tenant", 1), ("status", 1), ("created_at", -1)]),
            Index([("tenant", 1), ("user_id", 1), ("started_at", -1)]),
            Index([("tenant", 1), ("started_at", -1)]),
            Index([("tenant", 1), ("label_index", 1), ("created_at", -1)]),
            Index(
                [("tenant", 1), ("app_id", 1), ("sub_app_id", 1)],
                partial={"app_id": {"$gt": 0}},
            ),
            Index(
                [("tenant", 1), ("app_name", 1), ("created_at", -1)],
                partial={"app_name": {"$gt": ""}},
            ),
            Index(
                [
                    *(("tenant", 1), ("app_name", 1), ("sub_app_name", 1), ("created_at", 1)),
                    *(("status", 1), ("duration_ms", 1)),
                ],
                partial={"app_name": {"$gt": ""}},
                name="app_statistics",
            ),
            Index([("parent_id", 1), ("lane", 1)], partial={"parent_id": {"$gt": ""}}),
            Index(
                [("parent_id", 1), ("status", 1), ("lane", 1)],
                partial={"parent_id": {"$gt": ""}},
            ),
            Index([("status", 1), ("parent_id", 1)], partial={"parent_id": {"$gt": ""}}),
            Index([("untold", 1), ("completed_at", 1)], partial={"untold": True}),
            Index([("rerun_of", 1)], partial={"rerun_of": {"$gt": ""}}),
            Index(
                [("tenant", 1), ("sources.sha256", 1), ("created_at", -1)],
                partial={"sources.sha256": {"$gt": ""}},
                name="sources",
            ),
            Index(
                [("tenant", 1), ("table_sha256", 1), ("created_at", -1)],
                partial={"table_sha256": {"$gt": ""}},
                name="tables",
            ),
            Index([("created_at", 1)], partial={"imported.digest": {"$gt": ""}}, name="imported"),
            Index([("keep", 1), ("_id", 1)], partial={"keep": True}, name="kept"),
            Index([("schedule_id", 1), ("due_at", -1)], partial={"schedule_id": {"$gt": ""}}),
            Index([("family_id", 1)], partial={"family_id": {"$gt": ""}}),
            Index(
                [("stored_plan.uri", 1), ("_id", 1)],
                partial={"stored_plan.uri": {"$gt": ""}},
                name="stored_plan",
            ),
        ),
    ),
    CollectionSpec(
        STEPS,
        indexes=(
            *CHILD_INDEXES,
            Index([("execution_id", 1), ("step_id", 1)], unique=True),
            Index([("tenant", 1), ("status", 1), ("started_at", -1)]),
            Index([("tenant", 1), ("step_name", 1), ("started_at", -1)]),
            Index([("output_uri", 1)], partial={"output_uri": {"$gt": ""}}),
        ),
    ),
    CollectionSpec(LOGS, indexes=(Index([("execution_id", 1), ("chunk", 1)]),)),
    CollectionSpec(
        ARTIFACTS,
        indexes=(
            Index([("execution_id", 1), ("step_id", 1)]),
            Index([("tenant", 1), ("artifact_type", 1), ("created_at", -1)]),
            Index([("created_at", -1)]),
        ),
    ),
    CollectionSpec(
        METRICS,
        timeseries=TimeSeries("timestamp", "meta", expire_after_seconds=METRICS_SECONDS),
        indexes=(Index([("meta.execution_id", 1), ("timestamp", 1)]),),
    ),
    CollectionSpec(SLOTS),
    CollectionSpec(LINES),
    CollectionSpec(
        WORKERS,
        indexes=(Index([("seen_at", 1)], expire_after_seconds=FORGOTTEN_SECONDS, name="silent"),),
    ),
    CollectionSpec(CASES, indexes=(Index([("execution_id", 1), ("step_id", 1), ("number", 1)]),)),
    CollectionSpec(SWEEPS),
    CollectionSpec(WAKES, indexes=WAKES_INDEXES),
    CollectionSpec(IMPORTS),
    CollectionSpec(SCHEDULE_STATES),
)
