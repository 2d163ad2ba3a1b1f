"""An AWS estate on this machine: moto's server as a process of its own. It keeps everything in memory."""

from pathlib import Path

from sandbox.module import Module
from sandbox.ports import HOST, free_port

ACCESS_KEY_ID = "testing"
SECRET_ACCESS_KEY = "testing"


class Aws(Module):
    """One moto server."""

    def __init__(self, *, log: Path, port: int | None = None) -> None:
        port = port or free_port()
        super().__init__(
            "AWS (moto)",
            ["moto.server", "-H", HOST, "-p", str(port)],
            port=port,
            ready="/moto-api/",
            log=log,
            setting="SANDBOX__AWS_PORT",
            grace=0.2,  # it holds nothing that could be saved
        )

    @property
    def endpoint_url(self) -> str:
        return self.url
