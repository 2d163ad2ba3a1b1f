"""What the simulator does wrong on purpose, and how long its jobs take.

Shares are drawn from a seeded generator, so a sequence of requests meets the same faults each time. `script` lists
exact faults for the next requests whose path begins so (`{"path": "/status", "status": 503, "times": 2}`) and goes
first.
"""

import random
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["status", "html", "drop", "hang", "nonsense"]


class Scripted(BaseModel):
    """An exact fault for the next `times` requests to a path that begins with `path`."""

    model_config = ConfigDict(extra="forbid")

    path: str
    times: int = Field(1, ge=1)
    kind: Kind = "status"
    """`hang`: no answer, ever; `drop`: broken off; `nonsense`: JSON of another shape."""
    status: int = 500
    """Of kind `status`."""
    retry_after: str | None = None
    done: bool = False
    """Do what was asked for first, and go wrong with the answer."""


class Faults(BaseModel):
    """All switches; the defaults do nothing wrong."""

    model_config = ConfigDict(extra="forbid")

    latency_ms: float = Field(0, ge=0)
    """Added to every answer."""
    rate_429: float = Field(0, ge=0, le=1)
    rate_500: float = Field(0, ge=0, le=1)
    drop: float = Field(0, ge=0, le=1)
    """Share of answers that break off."""
    retry_after: str = "1"
    """`Retry-After` of a 429 by rate: seconds or an HTTP date."""
    pending_ms: int = Field(20, ge=0)
    """How long a job waits before it runs."""
    step_ms: int = Field(20, ge=0)
    """How long a step of a scenario takes."""
    scenarios: int = Field(2, ge=0, le=1000)
    """Of each test set."""
    steps: int = Field(3, ge=1, le=1000)
    """Of each scenario."""
    failing_sets: list[str] = []
    """Ids of test sets whose last scenario fails."""
    broken_jobs: bool = False
    """Jobs end as `failed` without having run anything, and have no results."""
    endless: bool = False
    """Jobs never end."""
    forget: bool = False
    """Jobs are not known any more."""
    shape: Literal["cucumber", "wrapped", "empty", "nonsense"] = "cucumber"
    """Of results."""
    knows_keys: bool = True
    """Two requests with one `Idempotency-Key` are one job."""
    callback: bool = True
    """Tell the end of a job to the request's `callbackUrl`."""
    script: list[Scripted] = []
    seed: int = 7


class FaultPlan:
    """The switches in force, and the next fault."""

    def __init__(self, faults: Faults) -> None:
        self.set(faults)

    def set(self, faults: Faults) -> None:
        self.faults = faults
        self._random = random.Random(faults.seed)
        self._script = [one.model_copy() for one in faults.script]

    def next(self, path: str) -> Scripted | None:
        """What goes wrong with this request; None when nothing does."""
        for scripted in self._script:
            if path.startswith(scripted.path) and scripted.times > 0:
                scripted.times -= 1
                return scripted
        draw = self._random.random()
        faults = self.faults
        for share, fault in (
            (faults.rate_429, Scripted(path=path, status=429, retry_after=faults.retry_after)),
            (faults.rate_500, Scripted(path=path, status=500)),
            (faults.drop, Scripted(path=path, kind="drop")),
        ):
            if draw < share:
                return fault
            draw -= share
        return None
