"""The contract of an embedded part: Kafka, mongod, moto, the simulator, a service.

`start` may fetch things and returns when the part answers; `stop` and `kill` leave no process and keep the data, so
that `start` finds it again. `say` tells a person what is being done at the moment. All calls block.
"""

import threading
from collections.abc import Callable
from typing import Protocol

Say = Callable[[str], None]


def silent(_: str) -> None:
    """Tell nobody."""


class Part(Protocol):
    name: str
    port: int
    port_setting: str
    """The variable that moves it to another port."""
    stopping: threading.Event
    """Set from another thread, it ends a `start` that is still waiting."""

    @property
    def pid(self) -> int | None: ...

    @property
    def alive(self) -> bool: ...

    def start(self, say: Say = silent) -> None: ...

    def stop(self) -> None: ...

    def kill(self) -> None: ...

    def why(self) -> str:
        """One sentence about a part that has ended by itself."""
        ...
