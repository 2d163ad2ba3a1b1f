"""A simulator on a port: in this loop for tests, or as a process of its own."""

import asyncio
import socket
import sys
from typing import Any

import uvicorn

from sandbox.virtuoso.app import BASE, build_app


class Serving:
    """Serves an application from `start` to `stop`; port 0 takes a free one."""

    name = "serving"

    def __init__(self, app: Any, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._host = host
        self._port = port
        self.app = app
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None

    @property
    def address(self) -> str:
        """`http://host:port`."""
        return f"http://{self._host}:{self._port}"

    @property
    def control_url(self) -> str:
        return f"{self.address}/_simulator"

    async def start(self) -> None:
        # A socket that does not say that it is TCP would make each answer wait for a delayed acknowledgement: 40 ms.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((self._host, self._port))
        self._socket.listen()
        self._port = self._socket.getsockname()[1]
        self._server = build_server(self.app)
        # `serve` would take over this process's signal handlers.
        self._task = asyncio.create_task(self._server._serve([self._socket]))  # noqa: SLF001
        while not self._server.started and not self._task.done():  # noqa: ASYNC110 - no event to wait for
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        if self._server is None or self._task is None or self._socket is None:
            return
        self._server.should_exit = True
        self._server.force_exit = True
        await self._task
        self._socket.close()


class Simulator(Serving):
    """The Virtuoso simulator. Keyword arguments go to `build_app`."""

    name = "virtuoso-simulator"

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, **options: Any) -> None:
        super().__init__(build_app(**options), host=host, port=port)

    @property
    def url(self) -> str:
        """The API base, `http://host:port/api`."""
        return f"{self.address}{BASE}"


def build_server(app: Any, *, host: str = "127.0.0.1", port: int = 0) -> uvicorn.Server:
    """A server without its own logging: what goes wrong here is meant to."""
    config = uvicorn.Config(
        app, host=host, port=port, log_config=None, log_level="critical", access_log=False,
        timeout_graceful_shutdown=1, lifespan="off",
    )  # fmt: skip
    return uvicorn.Server(config)


def run_alone(app: Any, host: str, port: int, *, say: str) -> int:
    """Serve until a signal; 1 when the port is taken. `say` is printed with the address."""
    server = build_server(app, host=host, port=port)
    print(say.format(f"http://{host}:{port}"), flush=True)  # noqa: T201 - a program of its own
    try:
        server.run()
    except SystemExit:
        print(f"port {port} on {host} cannot be used", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 0
    return 0
