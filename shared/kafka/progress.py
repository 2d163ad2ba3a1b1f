"""How a loop of this folder shows that it is alive; `shared.runtime.Health` fits."""

from typing import Protocol


class Progress(Protocol):
    """Readiness goes off when a watched loop makes no turn, or while somebody reports a problem."""

    def watch(self, loop: str) -> None: ...

    def beat(self, loop: str) -> None: ...

    def unwatch(self, loop: str) -> None: ...

    def report(self, name: str, problem: str | None) -> None: ...
