"""Clients whose libraries take long to import, imported when somebody needs them: an executor starts sooner."""

import asyncio
from importlib import import_module

from services.executor.addresses import AddressPolicy
from services.executor.commands.reach import HttpAnswer, HttpCaller, HttpRequest


class HttpCallerOnFirstUse:
    """Implements `HttpCaller` by `services.executor.clients.http`."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy
        self._caller: HttpCaller | None = None

    async def call(self, request: HttpRequest) -> HttpAnswer:
        if self._caller is None:
            http = await asyncio.to_thread(import_module, "services.executor.clients.http")
            self._caller = http.GuardedHttpCaller(self._policy)
        return await self._caller.call(request)
