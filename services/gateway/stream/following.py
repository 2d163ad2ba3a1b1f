"""The story of one run from any point on: rebuilt from documents, then live, without a gap and without a repetition.

The caller subscribes first and then the documents are read; what arrives twice is recognised by its number. A live
event whose predecessor was not seen sends the reader back to the documents. So does silence, so that a run can be
followed to its end while Kafka is away; and so does the end itself, because every log line is stored before the run is.

Documents are not read at one moment: of two steps that run side by side, the later change may be seen and the earlier
one not. So a change beyond what is known to be settled is told only when its predecessor was; else it waits for its
turn, live or at the next reading.
"""

from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence

from services.gateway.stream import encoding
from services.gateway.stream.encoding import Told
from services.gateway.stream.position import Position, refusal
from services.gateway.stream.stories import FIRST_PAGE, Stories, Story
from services.gateway.stream.subscription import Subscription
from shared.errors import CadenzaError, TransientError

FINISHED = "run.finished"


class Following:
    """Follows one run for one reader."""

    def __init__(
        self,
        stories: Stories,
        subscription: Subscription,
        *,
        execution_id: str,
        position: Position,
    ) -> None:
        self._stories = stories
        self._subscription = subscription
        self._tenant = subscription.tenant
        self._execution_id = execution_id
        self.position = position
        self.ended = False
        self.nothing_left = False
        """The reader came back after it had read the run to its end."""
        self._known: tuple[int, Story] | None = None
        self._looked_for = 0

    async def begin(self) -> None:
        """Raises NotFound, or InvalidRequest for a position that this run has not come to."""
        position, published = self.position, self._subscription.highest
        story = await self._story(after=position.sequence - 1)
        self._known = published, story
        if position.sequence > story.last:
            raise refusal("is ahead of this run")
        if position.chunk:
            newest = await self._stories.newest_chunk(self._tenant, self._execution_id)
            # the lines of an old run may have gone, then there is nothing left to miss
            if position.chunk > newest and (newest or not story.final):
                raise refusal("is ahead of the lines of this run")
        if story.final and 0 < story.last <= position.sequence:
            self.nothing_left = not await self._lines_left()

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """What happened and happens, several frames at a time. Ends after `run.finished`, or with a notice."""
        yield encoding.opening()
        try:
            async for frames in self._from_documents():
                yield frames
            while not self.ended and not self._subscription.cut:
                news = await self._subscription.news()
                if plain := self._plain(news):
                    yield plain
                else:
                    async for frames in self._live(news):
                        yield frames
        except CadenzaError as error:
            self._subscription.end(error.code)
            yield encoding.reconnect(error.code)
            return
        if not self.ended:
            yield encoding.reconnect(self._subscription.cut or "")

    async def _lines_left(self) -> bool:
        page = await self._stories.logs(
            self._tenant, self._execution_id, after=self.position.whole_until, size=FIRST_PAGE
        )
        return any(self.position.lacks(int(log.event.data["chunk"])) for log in page.chunks)

    def _plain(self, news: Sequence[Told]) -> bytes | None:
        """The frame of one event that simply comes next, which is nearly all of what a reader gets."""
        if len(news) != 1 or news[0].event.type == FINISHED or self.position.misses(news[0].event):
            return None
        return news[0].frame(str(self.position)) if self.position.take(news[0].event) else None

    async def _live(self, news: Sequence[Told]) -> AsyncGenerator[bytes, None]:
        """Whatever has come, and what else has to be read for it."""
        if not news:
            if not self._subscription.cut:
                async for frames in self._after_silence():
                    yield frames
            return
        told: list[bytes] = []
        for one in news:
            if one.event.type == FINISHED or self.position.misses(one.event):
                if told:
                    yield b"".join(told)
                    told.clear()
                async for frames in self._from_documents():
                    yield frames
            self._tell(one, told)
            if self.ended:
                break
        if told:
            yield b"".join(told)

    async def _after_silence(self) -> AsyncGenerator[bytes, None]:
        """A sign of life, and what Kafka has not told. The database may be away as well: then it is asked later."""
        try:
            async for frames in self._from_documents():
                yield frames
        except TransientError:
            pass
        yield encoding.HEARTBEAT

    async def _from_documents(self) -> AsyncGenerator[bytes, None]:
        """Everything stored that is new, in order; once more when there was more meanwhile than could be kept."""
        subscription = self._subscription
        subscription.catching_up = True
        try:
            while True:
                subscription.behind = False
                async for frames in self._read_once():
                    yield frames
                if not subscription.behind or self.ended:
                    return
        finally:
            subscription.catching_up = False

    async def _read_once(self) -> AsyncGenerator[bytes, None]:
        """Logs are read after the state: a finished run has all of its lines stored."""
        published, story = self._known or await self._read_story()
        self._known = None
        if story.final and story.last <= self.position.sequence:
            self.ended = True  # the reader came back for what it has read to the end
        changes = deque(self._in_order(story, settled=max(published, story.settled)))
        after, size = self.position.whole_until, FIRST_PAGE
        while not self._subscription.cut:
            page = await self._stories.logs(
                self._tenant, self._execution_id, after=after, size=size
            )
            told: list[bytes] = []
            whole = self._tell_lines(page.chunks, changes, story, told)
            if whole and page.next_size is None:
                for change in changes:
                    self._tell(change, told)
            if told:
                yield b"".join(told)
            if not whole:
                self._subscription.behind = True
            if not whole or page.next_size is None:
                return
            after, size = int(page.chunks[-1].event.data["chunk"]), page.next_size

    def _tell_lines(
        self, lines: Sequence[Told], changes: deque[Told], story: Story, told: list[bytes]
    ) -> bool:
        """Each with the changes before it. False at one that something comes before which has to be read first."""
        for log in lines:
            if self._is_younger(log, story):
                return False
            while changes and changes[0].event.sequence <= log.event.sequence:
                self._tell(changes.popleft(), told)
            self._tell(log, told)
        return True

    def _is_younger(self, log: Told, story: Story) -> bool:
        """Whether a line was written after changes which the story, read before it, does not know: they are told first.
        They may be still on their way to the documents, so this is said once of each.
        """
        sequence = log.event.sequence
        if sequence <= max(story.last, self.position.sequence, self._looked_for):
            return False
        self._looked_for = sequence
        return True

    def _in_order(self, story: Story, *, settled: int) -> Iterable[Told]:
        """New changes up to the first one of which it is not known whether something comes before it."""
        reached = self.position.sequence
        for told in story.events:
            event = told.event
            if event.sequence <= reached:
                continue
            if event.sequence > settled and event.prev is not None and event.prev > reached:
                return
            reached = event.sequence
            yield told

    async def _read_story(self) -> tuple[int, Story]:
        """The story, and how far Kafka had come before it was read."""
        published = self._subscription.highest
        return published, await self._story(after=self.position.sequence)

    async def _story(self, *, after: int) -> Story:
        return await self._stories.story(self._tenant, self._execution_id, after=after)

    def _tell(self, told: Told, frames: list[bytes]) -> None:
        """Add the frame, unless it was delivered before. An end is an end, also when it is read again."""
        if told.event.type == FINISHED:
            self.ended = True
        if self.position.take(told.event):
            frames.append(told.frame(str(self.position)))
