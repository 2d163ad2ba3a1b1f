"""The executors as they tell of themselves: each writes its own document every second while it lives."""

from datetime import timedelta

from pydantic import Field

from shared.events.base import Moment
from shared.views.base import View
from shared.work.labels import Abilities

WORKERS = "workers"
SILENT_FOR = timedelta(seconds=10)
"""A worker that has said nothing for so long is taken for lost."""
CLAIMING = "active"
"""The only state in which a worker takes runs."""


class WorkerView(View):
    """One executor process. A restarted one is a new worker, and an active one."""

    worker_id: str = Field(validation_alias="_id")
    host: str
    pid: int
    labels: list[str] = Field(default_factory=list)
    slots: int
    """Runs that it holds at most at a time."""
    used: int = 0
    version: str
    keep_days: dict[str, float] = Field(default_factory=dict)
    """How long it keeps `executions`, `steps` and `artifacts`."""
    state: str
    """`active`, `paused`, `draining` (takes nothing, has runs left), `drained` (has none left); `lost` when silent."""
    started_at: Moment
    seen_at: Moment

    def abilities(self) -> Abilities:
        return Abilities(frozenset(self.labels))
