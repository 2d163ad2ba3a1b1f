"""The simulator on a port of this process, for tests."""

from typing import Any

from sandbox.seven_ps.app import build_app
from sandbox.virtuoso.server import Serving


class Simulator(Serving):
    """Serves from `start` to `stop`; port 0 takes a free one. Keyword arguments go to `build_app`."""

    name = "seven-ps-simulator"

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, **options: Any) -> None:
        super().__init__(build_app(**options), host=host, port=port)

    @property
    def url(self) -> str:
        return self.address
