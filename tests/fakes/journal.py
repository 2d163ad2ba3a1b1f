"""A journal that remembers what it was told."""

from collections import defaultdict

from services.executor.models import (
    Artifact,
    LogLines,
    RunEnd,
    RunWait,
    Sample,
    StepEnd,
    StepRecord,
    WaitingFor,
)
from shared.work.ports import LostLease


class FakeJournal:
    def __init__(self, records: list[StepRecord] | None = None, *, epoch: int = 1) -> None:
        self.records = records or []
        self.epoch = epoch
        self.story: list[tuple] = []
        self.ends: dict[int, StepEnd] = {}
        self.lines: dict[int, list[LogLines]] = defaultdict(list)
        self.progressed: list[tuple[int, str, dict]] = []
        self.artifacts: list[Artifact] = []
        self.samples: list[Sample] = []
        self.resolved: list[dict] = []
        self.reported: dict[tuple[int, str], list] = {}
        self.ended: RunEnd | None = None
        self.lost = False
        self.memories: dict[int, tuple] = {}
        self.waiting_for: dict[int, WaitingFor | None] = {}
        self.put_aside: RunWait | None = None

    def of(self, _claim):
        return self

    async def open(self, names):
        self.names = list(names)
        return self.records

    def attempt(self, number: int) -> str:
        return f"{self.epoch}.{number}"

    async def step_started(self, step_id, attempt, *, durable):
        self._check()
        self.story.append(("started", self.names[step_id - 1], attempt, durable))

    async def step_remembers(self, step_id, attempt, memory, waiting_for):
        self._check()
        self.memories[step_id] = (attempt, memory)
        self.waiting_for[step_id] = waiting_for

    async def wait(self, wait):
        self._check()
        self.put_aside = wait
        return "waiting"

    async def step_retrying(self, step_id, attempt, end, delay, *, durable=False):
        self._check()
        self.story.append(("retrying", self.names[step_id - 1], attempt, end.reason))

    async def step_finished(self, step_id, attempt, end):
        self._check()
        assert step_id not in self.ends, f"step {step_id} ended twice"
        self.ends[step_id] = end
        self.story.append(("finished", self.names[step_id - 1], end.status))

    async def logs(self, lines):
        for line in lines:
            self.lines[line.step_id].append(line)

    def progress(self, step_id, attempt, told):
        self.progressed.append((step_id, attempt, dict(told)))

    async def artifact(self, artifact):
        self.artifacts.append(artifact)

    async def sources(self, records):
        self._check()
        self.resolved = list(records)

    async def cases(self, step_id, attempt, cases):
        self.reported[step_id, attempt] = list(cases)

    async def sample(self, sample):
        self.samples.append(sample)

    async def finish(self, end):
        self._check()
        self.ended = end
        return end.status

    def end_of(self, name: str) -> StepEnd:
        return self.ends[self.names.index(name) + 1]

    def text_of(self, name: str, stream: str = "stdout") -> str:
        lines = self.lines[self.names.index(name) + 1]
        return "".join(line.text for line in lines if line.stream == stream)

    def _check(self) -> None:
        if self.lost:
            raise LostLease
