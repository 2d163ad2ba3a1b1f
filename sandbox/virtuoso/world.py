"""Everything that the simulator knows, in memory: loaded from the data folder, then changed by requests.

Ids continue from the highest one loaded of each kind, so the same requests give the same ids; canonical ids follow
from kind and id. A checkpoint is stored once and attached to any number of journeys.
"""

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.requests import Request

from sandbox.virtuoso.answers import Json, missing, project_missing
from sandbox.virtuoso.running import Run

DATA = Path(__file__).parent / "data"
NAMESPACE = uuid.UUID("3d5f0c7e-9a51-5b7c-8a7e-51b1d0f4a2c9")
FIRST_ID = 10_000
"""Where a kind starts that no sample has."""


class World:
    """The stored things by id, and who belongs to whom."""

    def __init__(self, folder: Path, *, now: Callable[[], int]) -> None:
        self.folder = folder
        self.now = now
        self.reset()

    def reset(self) -> None:
        """Forget every change and read the data folder again."""
        self.projects: dict[int, Json] = {}
        self.goals: dict[int, Json] = {}
        self.snapshots: dict[int, list[Json]] = {}
        self.journeys: dict[int, Json] = {}
        """Without `cases`; those are named by `attached`, in order."""
        self.attached: dict[int, list[int]] = {}
        self.checkpoints: dict[int, Json] = {}
        self.step_home: dict[int, int] = {}
        self.environments: dict[int, Json] = {}
        self.api_tests: dict[int, Json] = {}
        self.executions: dict[int, Json] = {}
        self.runs: dict[int, Run] = {}
        """Started and not yet seen finished."""
        self._last: dict[str, int] = {}
        for file in sorted(self.folder.glob("*.json")):
            self._load(file.name, json.loads(file.read_text(encoding="utf-8")))

    def _load(self, name: str, value: Any) -> None:
        kind, _, rest = name.removesuffix(".json").rpartition("-")
        match kind:
            case "project":
                self.projects[value["id"]] = value
            case "goal":
                self.goals[value["goal"]["id"]] = value["goal"]
                self.snapshots[value["goal"]["id"]] = value["snapshots"]
            case "journey":
                self.add_journey(value)
            case "environments":
                self.environments |= {one["id"]: one for one in value}
            case "api-tests":
                self.api_tests[int(rest)] = value
            case "execution":
                self.executions[value["id"]] = value
            case _:
                raise ValueError(f"nothing is known about the sample file {name}")

    def add_journey(self, tree: Json) -> None:
        """Take in a journey with its checkpoints and steps."""
        journey = {key: value for key, value in tree.items() if key != "cases"}
        self.journeys[journey["id"]] = journey
        self.attached[journey["id"]] = [case["id"] for case in tree["cases"]]
        for case in tree["cases"]:
            self.checkpoints[case["id"]] = case
            self.step_home |= {step["id"]: case["id"] for step in case["steps"]}

    def new_id(self, kind: str) -> int:
        """The next id of a kind, after all that are known."""
        if kind not in self._last:
            known = {
                "project": self.projects,
                "goal": self.goals,
                "snapshot": [s["snapshotId"] for some in self.snapshots.values() for s in some],
                "journey": self.journeys,
                "checkpoint": self.checkpoints,
                "step": self.step_home,
                "execution": [*self.executions, *self.runs],
                "environment": self.environments,
            }.get(kind, ())
            self._last[kind] = max(known, default=FIRST_ID)
        self._last[kind] += 1
        return self._last[kind]

    def project(self, id: int) -> Json:
        if id not in self.projects:
            raise project_missing()
        return self.projects[id]

    def goal(self, id: int) -> Json:
        if id not in self.goals:
            raise missing("Goal")
        return self.goals[id]

    def journey(self, id: int) -> Json:
        """The whole tree, in the order of execution."""
        if id not in self.journeys:
            raise missing("Test suite")
        cases = [self._shared(self.checkpoints[case]) for case in self.attached[id]]
        return self.journeys[id] | {"cases": cases}

    def _shared(self, checkpoint: Json) -> Json:
        users = sum(checkpoint["id"] in cases for cases in self.attached.values())
        return checkpoint | {"sharedCount": max(users, checkpoint["sharedCount"])}

    def step(self, id: int) -> Json:
        if id not in self.step_home:
            raise missing("Test step")
        steps: list[Json] = self.checkpoints[self.step_home[id]]["steps"]
        return next(step for step in steps if step["id"] == id)


def world_of(request: Request) -> World:
    """The world behind the application that got the request."""
    world: World = request.app.state.world
    return world


def canonical_id(kind: str, id: int) -> str:
    """The id that stays the same across snapshots."""
    return str(uuid.uuid5(NAMESPACE, f"{kind}/{id}"))
