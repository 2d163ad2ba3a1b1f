"""Direct routes: one method at one exact path, straight from the middlewares to the endpoint.

The framework's way there (its own middlewares, the search for the route, the solving of dependencies) costs more than
all that accepting a run does. A direct route passes the same middlewares of ours, so ids, headers, spans, errors and
limits are the same, and the caller is known in the same way. The framework has the address too: it documents it, and
answers other methods at it.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.web.auth import Principal, principal


@dataclass(frozen=True, slots=True)
class DirectRoute:
    """`endpoint` answers `method` at `path`; it may raise what `problems.STATUS` knows."""

    method: str
    path: str
    endpoint: Callable[[Request, Principal], Awaitable[Response]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = self
        request = Request(scope, receive)
        answer = await self.endpoint(request, await principal(request))
        await answer(scope, receive, send)


class WebApp(FastAPI):
    """FastAPI with direct routes in front."""

    def __init__(self, *, direct: Iterable[DirectRoute], **options: Any) -> None:
        super().__init__(**options)
        self._direct: Mapping[tuple[str, str], ASGIApp] = {
            (route.method, route.path): _behind(self.user_middleware, route) for route in direct
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (
            route := self._direct.get((scope["method"], scope["path"]))
        ):
            scope["app"] = self
            await route(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def _behind(middlewares: Iterable[Middleware], app: ASGIApp) -> ASGIApp:
    for middleware in reversed(list(middlewares)):
        app = middleware.cls(app, *middleware.args, **middleware.kwargs)
    return app
