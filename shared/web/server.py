"""uvicorn as a part of the process: it runs in this event loop and leaves signals to `shared.runtime`.

Stopping takes no new connections, ends event streams at once (their clients reconnect elsewhere), and lets other
requests finish within `graceful_seconds`.
"""

import asyncio
import errno
import socket
from contextlib import suppress

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import ConfigurationError
from shared.settings import HttpSettings
from shared.web.protocol import BoundedProtocol

BACKLOG = 2048


class WebServer:
    """Serves an ASGI application."""

    name = "web server"

    def __init__(self, app: ASGIApp, settings: HttpSettings, *, graceful_seconds: int = 5) -> None:
        self._settings = settings
        self._streams = EndableStreams(app)
        self._config = uvicorn.Config(
            self._streams,
            log_config=None,
            access_log=False,
            lifespan="off",
            http=type(
                "Protocol", (BoundedProtocol,), {"slow_seconds": settings.slow_request_seconds}
            ),
            ws="none",
            proxy_headers=False,  # addresses are judged by shared.web.connection
            server_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=graceful_seconds,
        )
        self._server = uvicorn.Server(self._config)
        self._socket: socket.socket | None = None
        self._ticking: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that is listened on, also when the settings left the choice to the system."""
        if self._socket is None:
            return self._settings.port
        return int(self._socket.getsockname()[1])

    async def start(self) -> None:
        self._socket = _listen(self._settings)
        self._config.load()
        self._server.lifespan = self._config.lifespan_class(self._config)
        await self._server.startup(sockets=[self._socket])
        self._ticking = asyncio.create_task(self._server.main_loop(), name="web server")

    async def stop(self) -> None:
        if self._ticking is None:
            if self._socket is not None:
                self._socket.close()
            return
        self._server.should_exit = True
        self._streams.end()
        ticking, self._ticking = self._ticking, None
        with suppress(asyncio.CancelledError):
            await ticking
        await self._server.shutdown(sockets=[self._socket] if self._socket else None)


def _listen(settings: HttpSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio sends without delay only on sockets that say that they are TCP; otherwise the second part of an answer
    # waits for the caller's delayed acknowledgement of the first: 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise ConfigurationError(_why_not(settings, error)) from None
    listening.setblocking(False)
    return listening


def _why_not(settings: HttpSettings, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {settings.port} is taken by another process; set HTTP__PORT to a free one"
    if error.errno == errno.EACCES:
        return f"port {settings.port} may not be opened by this user; set HTTP__PORT above 1023"
    return f"cannot listen on {settings.host} (HTTP__HOST): {error.strerror or error}"


class EndableStreams:
    """Tells event streams that their client has gone when the server stops, and ends their answers properly."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._ending = asyncio.Event()

    def end(self) -> None:
        self._ending.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        streaming = finished = body_read = False

        async def send_and_note(message: Message) -> None:
            nonlocal streaming, finished
            if message["type"] == "http.response.start":
                streaming = is_event_stream(message)
            else:
                finished = not message.get("more_body", False)
            await send(message)

        async def receive_or_end() -> Message:
            nonlocal body_read
            if not body_read:
                message = await receive()
                body_read = not message.get("more_body", False)
                return message
            # From here on there is nothing to receive but that the client has gone.
            gone = asyncio.ensure_future(receive())
            await self._until(gone)
            if gone.done() or streaming:
                gone.cancel()
                return {"type": "http.disconnect"}
            return await gone

        await self.app(scope, receive_or_end, send_and_note)
        if streaming and not finished:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _until(self, gone: asyncio.Future[Message]) -> None:
        """Wait until the client has gone or the server ends."""
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            await asyncio.wait((gone, ending), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            gone.cancel()
            raise
        finally:
            ending.cancel()


def is_event_stream(start: Message) -> bool:
    """Does this `http.response.start` begin a stream of server-sent events?"""
    return any(
        name.lower() == b"content-type" and value.startswith(b"text/event-stream")
        for name, value in start["headers"]
    )
