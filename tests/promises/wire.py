"""A TCP proxy between a service and `mongod` that a test may program: which message is lost, late or held.

It runs in a thread with an event loop of its own, so tests of either kind may use it. Clients come through `uri`, which
says `directConnection=true`: a replica set of one announces its own address, and the driver would leave the proxy.
Retryable writes, majorities and transactions work all the same.

    rule = wire.on(is_claim, Fault.LOST_ANSWER)   # applied; the client sees its connection break
    …
    rule.wait()                                   # it has happened
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Self, TypeVar

from tests.promises.wire_messages import Message, read

HOST = "127.0.0.1"
Matches = Callable[[Message], bool]
T = TypeVar("T")


class Fault(Enum):
    """What happens to a message, and to the driver's own repetition of it (same session and transaction number)."""

    NEVER_SENT = auto()
    """The connection breaks before the server has it."""
    LOST_ANSWER = auto()
    """The server has applied it; the connection breaks before the client knows."""
    LATE = auto()
    """The connection breaks, and the server gets it all the same, on `release`. Repetitions never arrive."""
    SILENCE = auto()
    """The server has applied it; nothing comes back and nothing breaks."""
    HELD = auto()
    """It waits for `release`, then goes on as if nothing had been."""
    HELD_ANSWER = auto()
    """The server has applied it; the answer waits for `release`."""


@dataclass(eq=False)
class Rule:
    """A fault and when it strikes: for messages that match, after the first `skip`, `times` times.

    One that is `lenient` spares repetitions: the driver's second try goes through.
    """

    matches: Matches
    fault: Fault
    skip: int
    times: int
    lenient: bool
    struck: list[Message] = field(default_factory=list)
    """The messages that it has struck, repetitions left out."""
    answers: list[Message] = field(default_factory=list)
    """What the server said to them, as far as it has them."""
    delivered: threading.Event = field(default_factory=threading.Event)
    """A late one has been applied."""
    _loop: asyncio.AbstractEventLoop | None = None
    _released: asyncio.Event = field(default_factory=asyncio.Event)
    _happened: threading.Event = field(default_factory=threading.Event)
    _repeated: set[tuple[bytes, int]] = field(default_factory=set)

    def wait(self, timeout: float = 30.0) -> None:
        """Until it has struck as often as it was to."""
        assert self._happened.wait(timeout), f"{self.fault.name} never struck"

    @property
    def happened(self) -> bool:
        return self._happened.is_set()

    def release(self) -> None:
        """Let go what is held or late."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._released.set)

    def claims(self, message: Message) -> bool:
        """Whether it strikes this one; counts."""
        key = message.retry_key
        if key is not None and key in self._repeated:
            return not self.lenient
        if len(self.struck) >= self.times or not self.matches(message):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.struck.append(message)
        if key is not None:
            self._repeated.add(key)
        return True

    def is_first(self, message: Message) -> bool:
        return any(message is one for one in self.struck)

    def done(self) -> None:
        """What it does to one message is done (the server has it, or never will, or it is held)."""
        if len(self.struck) >= self.times:
            self._happened.set()

    async def released(self) -> None:
        await self._released.wait()


class Wire:
    """The proxy. Everything passes until a rule says otherwise."""

    def __init__(self, port: int) -> None:
        """`port` is the server's, on this machine."""
        self._target = port
        self._rules: list[Rule] = []
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire", daemon=True)
        self._flowing = {"requests": asyncio.Event(), "answers": asyncio.Event()}
        self.port = 0

    @property
    def uri(self) -> str:
        return f"mongodb://{HOST}:{self.port}/?directConnection=true"

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._do(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def on(
        self,
        matches: Matches,
        fault: Fault,
        *,
        skip: int = 0,
        times: int = 1,
        lenient: bool = False,
    ) -> Rule:
        rule = Rule(matches, fault, skip, times, lenient, _loop=self._loop)
        self._rules = [*self._rules, rule]
        return rule

    def clear(self) -> None:
        """Forget every rule and let go what they hold."""
        rules, self._rules = self._rules, []
        for rule in rules:
            rule.release()

    def freeze(self, *ways: str) -> None:
        """Nothing passes any more in these directions (`requests`, `answers`; both if none is named)."""
        for way in ways or self._flowing:
            self._loop.call_soon_threadsafe(self._flowing[way].clear)

    def thaw(self) -> None:
        for flowing in self._flowing.values():
            self._loop.call_soon_threadsafe(flowing.set)

    def cut(self) -> None:
        """Break every connection there is; new ones come through."""
        self._loop.call_soon_threadsafe(lambda: [link.break_up() for link in list(self._links)])

    def rule_for(self, message: Message) -> Rule | None:
        rules = self._rules
        return next((rule for rule in rules if rule.claims(message)), None) if rules else None

    async def flowing(self, way: str) -> None:
        await self._flowing[way].wait()

    async def _listen(self) -> asyncio.Server:
        for flowing in self._flowing.values():
            flowing.set()
        server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection(HOST, self._target)
        except OSError:  # the server is away: so is the proxy
            writer.close()
            return
        link = _Link(self, (reader, writer), (up_reader, up_writer))
        self._links.add(link)
        with suppress(asyncio.CancelledError):  # only at the end of all
            await link.run()
        self._links.discard(link)

    async def _close(self) -> None:
        self.clear()
        self._server.close()
        for link in list(self._links):
            link.break_up()
        current = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not current]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


class _Link:
    """One client's connection and ours to the server."""

    def __init__(self, wire: Wire, client: "_Ends", server: "_Ends") -> None:
        self._wire = wire
        self._from_client, self._to_client = client
        self._from_server, self._to_server = server
        self._awaited: dict[int, Rule] = {}
        """Requests whose answers are somebody's prey, by id."""
        self._late = asyncio.Event()

    async def run(self) -> None:
        ways = [asyncio.create_task(self._requests()), asyncio.create_task(self._answers())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self.break_up()

    def break_up(self) -> None:
        self._to_client.transport.abort()
        self._to_server.transport.abort()

    async def _requests(self) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                message = await read(self._from_client)
                await self._wire.flowing("requests")
                rule = self._wire.rule_for(message)
                if rule is None or await self._strike(rule, message):
                    self._to_server.write(message.raw)
                    await self._to_server.drain()
                else:
                    return

    async def _strike(self, rule: Rule, message: Message) -> bool:
        """Whether the server gets the message; the connection has no further use if not."""
        if rule.fault is Fault.LATE and rule.is_first(message):
            await self._deliver_late(rule, message)
            return False
        if rule.fault in (Fault.NEVER_SENT, Fault.LATE):
            self._to_client.transport.abort()
            rule.done()
            return False
        if rule.fault is Fault.HELD:
            rule.done()
            await rule.released()
            return True
        self._awaited[message.request_id] = rule
        return True

    async def _deliver_late(self, rule: Rule, message: Message) -> None:
        self._to_client.transport.abort()
        rule.done()
        await rule.released()
        self._awaited[message.request_id] = rule
        self._to_server.write(message.raw)
        await self._late.wait()

    async def _answers(self) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                message = await read(self._from_server)
                await self._wire.flowing("answers")
                rule = self._awaited.pop(message.response_to, None)
                if rule is not None and not await self._keep_back(rule, message):
                    continue
                self._to_client.write(message.raw)
                await self._to_client.drain()

    async def _keep_back(self, rule: Rule, answer: Message) -> bool:
        """Whether the client gets the answer after all."""
        rule.answers.append(answer)
        if rule.fault is Fault.LATE:
            rule.delivered.set()
            self._late.set()
        if rule.fault is Fault.LOST_ANSWER:
            self._to_client.transport.abort()
        rule.done()
        if rule.fault is Fault.HELD_ANSWER:
            await rule.released()
            return True
        return False


_Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
