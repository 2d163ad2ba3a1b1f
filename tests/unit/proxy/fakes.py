# ruff: noqa: A001 - a session id is best called id
"""The proxy's ports in memory, with the promises of `services/proxy/ports.py`."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from services.proxy.models import CONTEXT, FIRST_POSITION, Session, Turn, UpstreamAnswer
from shared.errors import NotFound
from shared.ids import new_id


class FakeUpstream:
    """Answers like Virtuoso would; remembers what it was asked."""

    def __init__(self, *, latency=0.0):
        self.latency = latency
        self.requests = []
        self.errors = []
        self.unknown_checkpoints = set()
        self.busy = self.most_busy = 0

    async def send(self, request):
        self.requests.append(request)
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            await asyncio.sleep(self.latency)
        finally:
            self.busy -= 1
        if self.errors:
            raise self.errors.pop(0)
        if (
            request.method == "GET"
            and int(request.path.rpartition("/")[2]) in self.unknown_checkpoints
        ):
            from services.proxy.errors import UpstreamNotFound

            raise UpstreamNotFound(
                "Virtuoso answered 404",
                upstream={"status": 404, "code": "2500", "message": "Checkpoint not found"},
            )
        return UpstreamAnswer(
            200, {"testStep": {"id": 1000 + len(self.requests)}, "checkpoint": {}}
        )

    async def forward(self, request):
        raise AssertionError("not used here")

    @property
    def indexes(self):
        return [request.body["stepIndex"] for request in self.requests if request.body]


class MemorySessions:
    """Sessions in a dict."""

    def __init__(self):
        self.sessions = {}
        self.turns = {}
        self.events = {}

    async def add(self, *, tenant, context, metadata):
        now = datetime.now(UTC)
        session = Session(
            new_id(),
            tenant,
            {name: context.get(name) for name in CONTEXT},
            FIRST_POSITION,
            dict(metadata),
            now,
            now,
            now + timedelta(hours=1),
        )
        self.sessions[session.id] = session
        self.events[session.id] = []
        return session

    async def get(self, id, *, tenant):
        session = self.sessions.get(id)
        if session is None or session.tenant != tenant:
            raise NotFound("there is no such session")
        return session

    async def list(self, *, tenant, limit, after):
        found = sorted(
            (one for one in self.sessions.values() if one.tenant == tenant),
            key=lambda one: one.id,
            reverse=True,
        )
        return [one for one in found if after is None or one.id < after][:limit]

    async def change(self, id, *, tenant, context):
        session = await self.get(id, tenant=tenant)
        self.sessions[id] = replace(
            session, context={**session.context, **context}, next_position=FIRST_POSITION
        )
        self.turns.pop(id, None)
        return self.sessions[id]

    async def end(self, id, *, tenant):
        await self.get(id, tenant=tenant)
        del self.sessions[id]

    async def take_turn(self, id, *, tenant):
        session = await self.get(id, tenant=tenant)
        if id in self.turns:
            return None
        self.turns[id] = new_id()
        return Turn(session, self.turns[id])

    async def end_turn(self, turn, *, advance, event=None):
        id = turn.session.id
        if self.turns.get(id) == turn.token:
            del self.turns[id]
            if advance:
                self.sessions[id] = replace(
                    self.sessions[id], next_position=self.sessions[id].next_position + 1
                )
        if event is not None:
            self.events[id].append(event)

    async def note(self, id, *, tenant, event):
        self.events[id].append(event)

    async def unpublished(self, ids, *, limit, older_than=0):
        wanted = self.events if ids is None else ids
        return {id: list(self.events[id]) for id in wanted if self.events.get(id)}

    async def published(self, events):
        for id, ids in events.items():
            self.events[id] = [event for event in self.events[id] if event.id not in ids]


class RecordingEvents:
    """Takes events, or refuses as many as it is told to."""

    def __init__(self):
        self.published = []
        self.refuse = 0

    async def publish_many(self, events):
        results = []
        for event in events:
            if self.refuse:
                self.refuse -= 1
                results.append(ConnectionError("Kafka is away"))
            else:
                self.published.append(event)
                results.append(None)
        return results


class RecordingOutbox:
    """Notes who was woken."""

    def __init__(self):
        self.woken = []
        self.loose = []

    def wake(self, session_id):
        self.woken.append(session_id)

    def put(self, event):
        self.loose.append(event)
