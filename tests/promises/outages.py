"""Load and readiness while something is away: what was accepted meanwhile, and what each service said of itself.

Both run in threads of their own, so that a test may block in `kafka.start()` while callers keep calling.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from sandbox.module import Module
from shared.ids import new_id
from shared.work.ports import FINAL
from tests.builders.runs import a_step
from tests.promises.platform import Platform, check_invariants

LAST_TRIES_SECONDS = 30
"""How long callers go on after the end, for what they have no answer to yet."""


def shell(command: str, name: str = "one", **more: Any) -> dict[str, Any]:
    """A step that runs a line of shell."""
    return a_step(name, command={"type": "shell", "command": command}, **more)


class Load:
    """Callers that submit one run after the other; only a 202 counts as accepted.

    A caller that got no answer, or a 503, may have been heard all the same: it says the same again, under one key, until
    it is accepted.
    """

    def __init__(self, it: Platform, *steps: dict[str, Any], callers: int = 3) -> None:
        self.accepted: list[str] = []
        self.answers: Counter[str] = Counter()
        self._it = it
        self._body = {"plan": {"name": "load", "steps": list(steps) or [a_step()]}}
        self._stopping = threading.Event()
        self._stopped_at: float | None = None
        self._threads = [threading.Thread(target=self._call) for _ in range(callers)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped_at = time.monotonic()
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int, *, timeout: float = 40) -> None:
        """Return when `count` further runs have been accepted."""
        goal = len(self.accepted) + count
        self._it.until(
            lambda: len(self.accepted) >= goal,
            timeout=timeout,
            what=f"{count} more runs to be accepted ({dict(self.answers)})",
        )

    def _call(self) -> None:
        while not self._stopping.wait(0.1):
            key = new_id()
            while not self._submit(key) and not self._stopped_for(LAST_TRIES_SECONDS):
                time.sleep(0.1)

    def _submit(self, key: str) -> bool:
        try:
            with self._it.client() as client:
                headers = {"Idempotency-Key": key}
                answer = client.post("/v1/executions", json=self._body, headers=headers)
        except httpx.HTTPError as error:  # the gateway is being restarted
            self.answers[type(error).__name__] += 1
            return False
        self.answers[str(answer.status_code)] += 1
        if answer.status_code != 202:
            return False
        self.accepted.append(answer.json()["execution_id"])
        return True

    def _stopped_for(self, seconds: float) -> bool:
        return self._stopped_at is not None and time.monotonic() > self._stopped_at + seconds


class Watch:
    """Asks one service for its readiness, five times a second."""

    def __init__(self, it: Platform, module: Module) -> None:
        self.parts: dict[str, str] = {}
        self._it = it
        self._module = module
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def until_off(self, part: str, *, within: float = 10) -> str:
        """The words of the part that is not well; fails when it is still called well after `within` seconds."""
        self._it.until(
            lambda: self.parts.get(part, "ok") != "ok",
            timeout=within,
            what=f"{self._module.name} to say that {part} is away ({self.parts})",
        )
        return self.parts[part]

    def until_on(self, *, within: float = 40) -> None:
        """Every part is well again, by itself."""
        self._it.until(
            lambda: bool(self.parts) and set(self.parts.values()) == {"ok"},
            timeout=within,
            what=f"{self._module.name} to be ready again ({self.parts})",
        )

    def _ask(self) -> None:
        with httpx.Client(timeout=5, trust_env=False) as client:
            while not self._stopping.wait(0.2):
                try:
                    answer = client.get(self._module.url + "/health/ready")
                except httpx.HTTPError as error:
                    self.parts = {"process": type(error).__name__}
                else:
                    self.parts = answer.json()["parts"]
                    well = set(self.parts.values()) == {"ok"}
                    assert answer.status_code == (200 if well else 503)


def all_ended_once(it: Platform, ids: list[str], *, timeout: float = 90) -> list[dict[str, Any]]:
    """Each run that was accepted has ended, once; none is there that nobody asked for twice."""
    assert len(set(ids)) == len(ids)
    documents = it.wait_final(*ids, timeout=timeout)
    check_invariants(it, ids)
    assert {document["status"] for document in documents} <= set(FINAL)
    return documents


def effects(mark: Path) -> Counter[str]:
    """How often each run wrote its line."""
    return Counter(mark.read_text().split()) if mark.exists() else Counter()


def logged(module: Module, event: str) -> list[str]:
    """Log lines of a service that name an event."""
    return [line for line in module._process.log.read_text().splitlines() if event in line]


@contextmanager
def stopped(module: Module) -> Iterator[None]:
    """The service and all below it stand still, as a frozen machine would make them."""
    frozen = [psutil.Process(module.pid)]
    frozen += frozen[0].children(recursive=True)
    for process in frozen:
        process.suspend()
    try:
        yield
    finally:
        for process in frozen:
            with suppress(psutil.NoSuchProcess):
                process.resume()


def wait_seconds_since(begun: float, seconds: float) -> None:
    """The outage is to last that long; there is nothing else to wait for."""
    time.sleep(max(0.0, begun + seconds - time.monotonic()))
