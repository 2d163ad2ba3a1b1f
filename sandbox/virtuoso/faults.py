"""What the simulator does wrong on purpose: slowness, refusals, broken-off answers, web pages for JSON, drift.

Shares are drawn from a seeded generator, so a sequence of requests meets the same faults each time. `script` lists
exact answers for the next requests to a path (`{"path": "/executions/7", "status": 404, "times": 2}`) and goes first.
"""

import random
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request


class Scripted(BaseModel):
    """An exact fault for the next `times` requests whose path (below the API base) is `path`."""

    model_config = ConfigDict(extra="forbid")

    path: str
    times: int = Field(1, ge=1)
    status: int | None = None
    """Answer with this status and an error body."""
    kind: Literal["status", "html", "drop", "hang"] = "status"
    retry_after: str | None = None


class Faults(BaseModel):
    """All switches; the defaults do nothing wrong."""

    model_config = ConfigDict(extra="forbid")

    latency_ms: float = Field(0, ge=0)
    """Added to every answer."""
    rate_429: float = Field(0, ge=0, le=1)
    rate_500: float = Field(0, ge=0, le=1)
    drop: float = Field(0, ge=0, le=1)
    """Share of answers that break off."""
    html: float = Field(0, ge=0, le=1)
    """Share of answers that are a login page with status 200."""
    retry_after: str = "1"
    """`Retry-After` of a 429: seconds or an HTTP date."""
    drift: bool = False
    """Answers have an unknown field, lack one and have one of another type."""
    step_ms: int = Field(40, ge=0)
    """How long a step of a started run takes."""
    failing_steps: list[int] = []
    """Steps that end in an error when a run reaches them."""
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
            if scripted.path == path and scripted.times > 0:
                scripted.times -= 1
                return scripted
        draw = self._random.random()
        for share, fault in self._shares(path):
            if draw < share:
                return fault
            draw -= share
        return None

    def _shares(self, path: str) -> list[tuple[float, Scripted]]:
        faults = self.faults
        limited = Scripted(path=path, status=429, retry_after=faults.retry_after)
        return [
            (faults.rate_429, limited),
            (faults.rate_500, Scripted(path=path, status=500)),
            (faults.drop, Scripted(path=path, kind="drop")),
            (faults.html, Scripted(path=path, kind="html")),
        ]


def faults_of(request: Request) -> Faults:
    """The switches of the application that got the request."""
    plan: FaultPlan = request.app.state.faults
    return plan.faults
