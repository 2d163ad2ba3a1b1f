"""Commands: check the arguments, find the place, make the call, tell what happened.

A command in a session without a position of its own holds the session's turn across the call, so that positions come
out dense and in order however many callers write at once. Its event is stored with the position, in one write, and
published from there; a command without a session has its event published right after the call.
"""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from services.proxy.commands.base import Arguments, Command
from services.proxy.models import (
    APPEND,
    Caller,
    Executed,
    Order,
    Place,
    Session,
    UpstreamAnswer,
    UpstreamRequest,
)
from services.proxy.ports import Outbox, Sessions, Upstream
from services.proxy.turns import Turns
from shared.clock import Clock
from shared.errors import CadenzaError, FieldError, InvalidRequest, StorageUnavailable
from shared.events.proxy import ProxyEvent
from shared.ids import new_id
from shared.registry import Registry

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Work:
    """A command with its checked arguments, and for whom it is."""

    command: Command[Any]
    arguments: Arguments
    order: Order
    caller: Caller


class CommandService:
    """Runs commands of the catalogue."""

    def __init__(
        self,
        *,
        commands: Registry[Command[Any]],
        upstream: Upstream,
        sessions: Sessions,
        turns: Turns,
        outbox: Outbox,
        clock: Clock,
    ) -> None:
        self._commands = commands
        self._upstream = upstream
        self._sessions = sessions
        self._turns = turns
        self._outbox = outbox
        self._clock = clock

    def catalogue(self) -> list[dict[str, Any]]:
        """Every command once, in the order of the list."""
        return list({command.name: command.describe() for command in self._commands}.values())

    def describe(self, name: str) -> dict[str, Any]:
        """Raises NotFound with the nearest name."""
        return self._commands.get(name).describe()

    async def plan(self, order: Order, *, caller: Caller) -> UpstreamRequest:
        """The call that `execute` would make now; nothing is called and no position is taken."""
        command, arguments = self._parse(order)
        if not command.is_step:
            return command.request(arguments, None)
        if order.session_id is None:
            return command.request(arguments, _explicit_place(order))
        session = await self._sessions.get(order.session_id, tenant=caller.tenant)
        return command.request(arguments, _session_place(session, order.position))

    async def execute(self, order: Order, *, caller: Caller) -> Executed:
        """Make the call. What Virtuoso refuses is raised, after its event has been stored."""
        command, arguments = self._parse(order)
        work = _Work(command, arguments, order, caller)
        if order.session_id is None:
            return await self._without_session(work)
        if order.position is not None or not command.is_step:
            return await self._beside_the_position(work, order.session_id)
        return await self._at_the_position(work, order.session_id)

    async def _without_session(self, work: _Work) -> Executed:
        place = _explicit_place(work.order) if work.command.is_step else None
        outcome, event = await self._make(work, place)
        self._outbox.put(event)
        return _unless_failed(outcome)

    async def _beside_the_position(self, work: _Work, session_id: str) -> Executed:
        tenant = work.caller.tenant
        session = await self._sessions.get(session_id, tenant=tenant)
        place = _session_place(session, work.order.position) if work.command.is_step else None
        outcome, event = await self._make(work, place)
        await self._kept(event, self._sessions.note(session_id, tenant=tenant, event=event))
        self._outbox.wake(session_id)
        return _unless_failed(outcome)

    async def _at_the_position(self, work: _Work, session_id: str) -> Executed:
        async with self._turns.hold(session_id, tenant=work.caller.tenant) as held:
            place = _session_place(held.session, None)
            outcome, event = await self._make(work, place)
            advance = isinstance(outcome, Executed)
            await self._kept(event, held.end(advance=advance, event=event))
        self._outbox.wake(session_id)
        return _unless_failed(outcome)

    async def _kept(self, event: ProxyEvent, storing: Awaitable[None]) -> None:
        """The call was made: where the database is away its event goes out from memory."""
        try:
            await storing
        except StorageUnavailable:
            self._outbox.put(event)
            raise

    async def _make(
        self, work: _Work, place: Place | None
    ) -> tuple[Executed | CadenzaError, ProxyEvent]:
        """The call, its log record and its event. What Virtuoso refuses is an outcome, not raised."""
        request = work.command.request(work.arguments, place)
        started = self._clock.monotonic()
        outcome: UpstreamAnswer | CadenzaError
        try:
            outcome = await self._upstream.send(request)
        except CadenzaError as error:
            outcome = error
        milliseconds = round((self._clock.monotonic() - started) * 1000)
        if isinstance(outcome, CadenzaError):
            event = self._event(
                work,
                type="command.failed",
                upstream_status=_upstream_status(outcome),
                duration_ms=milliseconds,
                reason=outcome.message,
            )
            return outcome, event
        executed = Executed(
            command=work.command.name,
            upstream_status=outcome.status,
            result=outcome.content,
            created=work.command.created(outcome.content),
            duration_ms=milliseconds,
            place=place,
            session_id=work.order.session_id,
        )
        event = self._event(
            work,
            type="command.executed",
            upstream_status=outcome.status,
            duration_ms=milliseconds,
            created=dict(executed.created),
        )
        return executed, event

    def _event(
        self, work: _Work, *, type: Literal["command.executed", "command.failed"], **facts: Any
    ) -> ProxyEvent:
        event = ProxyEvent(
            id=new_id(),
            tenant=work.caller.tenant,
            occurred_at=self._clock.now(),
            type=type,
            command=work.command.name,
            session_id=work.order.session_id,
            actor=work.caller.user,
            **facts,
        )
        _record(event)
        return event

    def _parse(self, order: Order) -> tuple[Command[Any], Arguments]:
        command = self._commands.get(order.command)
        return command, command.parse(order.arguments)


def _record(event: ProxyEvent) -> None:
    log.info(
        event.type,
        event_id=event.id,
        session=event.session_id,
        command=event.command,
        upstream_status=event.upstream_status,
        ms=event.duration_ms,
    )


def _upstream_status(error: CadenzaError) -> int | None:
    upstream = error.context.get("upstream")
    return upstream.get("status") if isinstance(upstream, Mapping) else None


def _unless_failed(outcome: Executed | CadenzaError) -> Executed:
    if isinstance(outcome, CadenzaError):
        raise outcome
    return outcome


def _explicit_place(order: Order) -> Place:
    if order.checkpoint_id is None:
        raise _no_checkpoint(
            f"'{order.command}' needs a checkpoint_id, or a session_id with a checkpoint"
        )
    return Place(order.checkpoint_id, APPEND if order.position is None else order.position)


def _session_place(session: Session, position: int | None) -> Place:
    if session.checkpoint_id is None:
        raise _no_checkpoint("the session has no checkpoint; set one with PATCH")
    return Place(session.checkpoint_id, session.next_position if position is None else position)


def _no_checkpoint(message: str) -> InvalidRequest:
    return InvalidRequest(message, errors=[FieldError("checkpoint_id", "required", message)])
