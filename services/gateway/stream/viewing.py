"""One live view from its request to its end: what a response needs of it, and nothing of HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

from services.gateway.stream.following import Following
from services.gateway.stream.hub import Hub
from services.gateway.stream.position import Position
from services.gateway.stream.stories import Stories
from services.gateway.stream.subscription import GONE, Subscription
from shared.observability.instruments import STREAMS_ENDED

RUN_FINISHED = "run finished"


class View:
    """Frames for one client, as fast as it takes them."""

    def __init__(
        self, frames: AsyncIterator[bytes], subscription: Subscription, *, nothing_left: bool
    ) -> None:
        self.nothing_left = nothing_left
        self._frames = frames
        self._subscription = subscription
        self._time = asyncio.get_running_loop().time

    async def next(self) -> bytes | None:
        """More frames, asked for when the former ones are on their way; None at the end."""
        self._subscription.sending_since = None
        frames = await anext(self._frames, None)
        self._subscription.sending_since = self._time()
        return frames

    def connected(self, abort: Callable[[], None]) -> None:
        """`abort` drops the connection with all that it has not taken."""
        self._subscription.abort = abort

    def gone(self) -> None:
        """The client has hung up."""
        self._subscription.end(GONE)


class Views:
    """Opens live views."""

    def __init__(self, hub: Hub, stories: Stories) -> None:
        self._hub = hub
        self._stories = stories

    @asynccontextmanager
    async def open(self, tenant: str, execution_id: str, position: Position) -> AsyncIterator[View]:
        """Subscribe first, read what is stored after it: so nothing falls between the two.

        Raises NotFound, InvalidRequest, StorageUnavailable, Overloaded.
        """
        with self._hub.subscription(execution_id, tenant=tenant) as subscription:
            following = Following(
                self._stories, subscription, execution_id=execution_id, position=position
            )
            await following.begin()
            async with aclosing(following.frames()) as frames:
                try:
                    yield View(frames, subscription, nothing_left=following.nothing_left)
                finally:
                    STREAMS_ENDED.add(1, subscription.cut or RUN_FINISHED)
