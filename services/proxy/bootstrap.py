"""The parts of the proxy and how they fit; the only place that constructs things. Connects nothing."""

from services.proxy.clients.virtuoso import VirtuosoClient
from services.proxy.commands import registry
from services.proxy.outbox import EventOutbox
from services.proxy.ports import Events, Sessions, Upstream
from services.proxy.repository import MongoSessions
from services.proxy.routes import commands, passthrough, sessions
from services.proxy.service import CommandService
from services.proxy.sessions import SessionService
from services.proxy.settings import ProxySettings
from services.proxy.turns import Turns
from shared.clock import Clock, SystemClock
from shared.kafka.publishing import KafkaEventPublisher
from shared.mongo.client import Mongo
from shared.observability import tracing
from shared.ports import Resource
from shared.runtime import Health
from shared.service import VERSION, App
from shared.web.app import build_web_app
from shared.web.auth import ApiKeyAuthenticator
from shared.web.server import WebServer

TITLE = "Cadenza proxy"
TOPICS_OUT = ("proxy-events",)


def build_app(
    settings: ProxySettings,
    *,
    upstream: Upstream | None = None,
    store: Sessions | None = None,
    events: Events | None = None,
    clock: Clock | None = None,
) -> App:
    """Real parts by default, others by keyword."""
    clock = clock or SystemClock()
    health = Health(settings.runtime)
    resources: list[Resource] = []
    group = settings.proxy

    if store is None:
        mongo = Mongo(settings.mongo)
        health.add_check("mongo", mongo.check)
        resources.append(mongo)
        store = MongoSessions(
            mongo.database,
            clock=clock,
            idle_seconds=group.session_idle_seconds,
            turn_seconds=group.timeout_seconds + group.turn_margin_seconds,
        )
    if events is None:
        # not in readiness: commands run without Kafka, their events wait in the sessions
        events = publisher = KafkaEventPublisher(settings.kafka, trace_headers=tracing.inject)
        resources.append(publisher)
    if upstream is None:
        upstream = client = VirtuosoClient(group, trace_headers=tracing.inject)
        resources.append(client)

    outbox = EventOutbox(
        sessions=store, events=events, health=health, sweep_seconds=group.outbox_sweep_seconds
    )
    resources.append(outbox)
    command_service = CommandService(
        commands=registry.build(),
        upstream=upstream,
        sessions=store,
        turns=Turns(store, clock=clock, wait_seconds=group.session_wait_seconds),
        outbox=outbox,
        clock=clock,
    )
    web = build_web_app(
        title=TITLE,
        version=VERSION,
        settings=settings.http,
        health=health,
        routers=[
            commands.build_router(command_service),
            sessions.build_router(SessionService(sessions=store, upstream=upstream)),
            passthrough.build_router(upstream),
        ],
        authenticator=ApiKeyAuthenticator(settings.auth),
    )
    resources.append(WebServer(web, settings.http))
    return App(resources, health, web)
