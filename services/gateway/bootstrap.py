"""The parts of the gateway and how they fit; the only place that constructs things. Connects nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from fastapi import APIRouter

from services.gateway.app_statistics import AppStatistics
from services.gateway.apps import Apps
from services.gateway.decisions import Decisions
from services.gateway.graphs import PlanReader
from services.gateway.intake import Intake
from services.gateway.lane_steps import LaneSteps
from services.gateway.lanes import Lanes
from services.gateway.outbox.backlog import Backlog
from services.gateway.outbox.direct import DirectPublication
from services.gateway.outbox.letters import KafkaDeadLetters
from services.gateway.outbox.reconciler import Reconciler
from services.gateway.outbox.relay import Relay
from services.gateway.outbox.turns import Turns
from services.gateway.plan_warnings import PlanWarnings
from services.gateway.ports import AcceptedEvents, GroupProgress, MessageSender, Outbox
from services.gateway.queue import QueueReader, WorkerRequests
from services.gateway.reading import CaseReader, ExecutionReader, ExtractionReader, ScanReader
from services.gateway.repository.accepted import MongoAcceptedEvents
from services.gateway.repository.app_statistics import MongoAppRuns
from services.gateway.repository.apps import MongoConfigurations
from services.gateway.repository.audit import MongoAudit
from services.gateway.repository.cases import MongoCases
from services.gateway.repository.executions import MongoExecutions
from services.gateway.repository.lane_steps import MongoLaneSteps
from services.gateway.repository.lanes import MongoLanes
from services.gateway.repository.queue import MongoQueue
from services.gateway.repository.retention import MongoAgedRecords
from services.gateway.repository.schedules import MongoDefinitions
from services.gateway.repository.tenant_values import MongoTenantValues
from services.gateway.repository.uploads import MongoUploads
from services.gateway.repository.work import MongoExtractions, MongoScans
from services.gateway.requests import WorkRequests
from services.gateway.reruns import Reruns
from services.gateway.retention import RetentionPreview
from services.gateway.routes import (
    apps,
    decisions,
    details,
    events,
    executions,
    extractions,
    lanes,
    plans,
    scans,
    schedules,
    tenant_values,
    webhooks,
)
from services.gateway.routes import cases as test_cases
from services.gateway.routes import queue as queue_routes
from services.gateway.routes import retention as retention_routes
from services.gateway.routes import uploads as upload_routes
from services.gateway.schedules import Schedules
from services.gateway.sealed_fields import SealedFields
from services.gateway.settings import GatewayGroup, GatewaySettings
from services.gateway.signatures import Signatures
from services.gateway.stream.hub import Bounds, Hub
from services.gateway.stream.stories import Stories
from services.gateway.stream.viewing import Views
from services.gateway.submission import RunRequests
from services.gateway.tenant_values import Secrets, Variables
from services.gateway.uploads import Room, Uploads
from shared.clock import Clock, SystemClock
from shared.events.execution import ExecutionEvent
from shared.ids import new_id
from shared.kafka.offsets import GroupOffsets
from shared.kafka.publishing import KafkaEventPublisher
from shared.kafka.tail import Tail
from shared.mongo.client import Database, Mongo
from shared.objects.factory import build_store
from shared.objects.ports import ObjectStore
from shared.objects.watched import WatchedStore
from shared.observability import tracing
from shared.ports import Audit, Resource
from shared.runtime import Health
from shared.security.encryption import cipher_of
from shared.service import VERSION, App
from shared.settings import MongoSettings
from shared.views.tenant_values import SECRETS, VARIABLES
from shared.web.app import build_web_app
from shared.web.auth import ApiKeyAuthenticator, Authenticator
from shared.web.server import WebServer

TITLE = "Cadenza gateway"
TOPICS_OUT = (
    "run-requested",
    "run-control",
    "scan-requested",
    "extraction-requested",
    "execution-complete",
)
TOPICS_IN = ("execution-events",)
UNWATCHED_SECONDS = 0.05
"""How seldom events are fetched while nobody follows a run: most of what each costs is being fetched alone."""


def build_app(
    settings: GatewaySettings,
    *,
    sender: MessageSender | None = None,
    progress: GroupProgress | None = None,
    objects: ObjectStore | None = None,
    clock: Clock | None = None,
) -> App:
    """Real parts by default, others by keyword."""
    clock = clock or SystemClock()
    group = settings.gateway
    health = Health(settings.runtime)
    mongo = Mongo(_quick(settings.mongo, group))
    health.add_check("mongo", mongo.check)
    audit = MongoAudit(mongo.database, clock=clock)
    accepted = MongoAcceptedEvents(mongo.database, max_waiting=group.max_waiting_requests)
    resources: list[Resource] = [mongo, audit]

    # Kafka is in no readiness check: while it is away requests are accepted all the same
    if sender is None:
        sender = publisher = KafkaEventPublisher(settings.kafka)
        resources.append(publisher)
    direct = DirectPublication(sender, accepted, clock=clock)
    hub = Hub(_bounds(group))
    resources += [direct, Backlog(accepted, clock=clock), _tail(settings, hub)]

    views = MongoExecutions(mongo.database)
    intake = _intake(accepted, direct, audit, group, clock)
    relay = Relay(accepted, sender, group, owner=new_id(), held=direct.held, clock=clock)
    letters = KafkaDeadLetters(settings.kafka)
    offsets = progress or GroupOffsets(settings.kafka)
    reconciler = Reconciler(accepted, views, offsets, letters, group, clock=clock)
    resources += _loops(group, health, relay, reconciler, intake)

    # in no readiness check either: only plans and tables beyond `inline_plan_bytes` need it
    store = objects or WatchedStore(build_store(settings.objects, settings.aws, mongo.database))
    kept = _kept(settings, mongo.database, store, audit, health, clock)
    reader = ExecutionReader(views, views, accepted, store, kept.fields)
    queue = QueueReader(MongoQueue(mongo.database))
    runs = _run_requests(settings, intake, reader, store, queue, clock, kept)
    authenticator = ApiKeyAuthenticator(settings.auth)
    web = build_web_app(
        title=TITLE,
        version=VERSION,
        settings=settings.http,
        health=health,
        routers=[
            *_run_routers(runs, reader, views, mongo.database, accepted, hub, store),
            decisions.build_router(Decisions(intake, reader, clock=clock)),
            queue_routes.build_router(queue, WorkerRequests(intake, queue, clock=clock)),
            *_work_routers(settings, intake, accepted, mongo.database, authenticator, clock),
            *kept.routers,
        ],
        body_limits={("POST", upload_routes.PATH): group.max_upload_bytes},
        authenticator=authenticator,
        direct=executions.build_direct(runs),
    )
    # the hub stops first: streams end with a notice to come back, then the server closes
    resources += [kept.sweep, WebServer(web, settings.http), hub]
    return App(resources, health, web)


def _intake(
    accepted: AcceptedEvents, outbox: Outbox, audit: Audit, group: GatewayGroup, clock: Clock
) -> Intake:
    return Intake(
        accepted,
        outbox,
        audit,
        clock=clock,
        key_lifetime=timedelta(hours=group.idempotency_hours),
        trace=tracing.inject,
    )


def _tail(settings: GatewaySettings, hub: Hub) -> Tail:
    # its trouble turns no readiness off: live views fall back to the documents
    return Tail(
        settings.kafka,
        topic=ExecutionEvent.topic,
        on_record=lambda record: hub.receive(record.key, record.value),
        pause=lambda: 0 if hub.followers else UNWATCHED_SECONDS,
        health=Health(settings.runtime),
    )


def _loops(
    group: GatewayGroup, health: Health, relay: Relay, reconciler: Reconciler, intake: Intake
) -> list[Resource]:
    return [
        Turns("relay", relay.turn, seconds=group.relay_seconds, health=health),
        Turns("reconciler", reconciler.turn, seconds=group.reconcile_seconds, health=health),
        Turns("key-expiry", intake.free_keys, seconds=group.reconcile_seconds, health=health),
    ]


def _run_requests(
    settings: GatewaySettings,
    intake: Intake,
    reader: ExecutionReader,
    store: ObjectStore,
    queue: QueueReader,
    clock: Clock,
    kept: "Kept",
) -> RunRequests:
    return RunRequests(
        intake,
        reader,
        store,
        queue,
        warnings=kept.warnings,
        uploads=kept.uploads,
        clock=clock,
        version=VERSION,
        environment=settings.telemetry.environment,
        inline_plan_bytes=settings.gateway.inline_plan_bytes,
        apps=kept.apps,
    )


def _run_routers(
    runs: RunRequests,
    reader: ExecutionReader,
    views: MongoExecutions,
    database: Database,
    accepted: AcceptedEvents,
    hub: Hub,
    store: ObjectStore,
) -> list[APIRouter]:
    of_runs = Lanes(MongoLanes(database), reader)
    return [
        executions.build_router(runs, reader, of_runs),
        details.build_router(reader),
        lanes.build_router(of_runs),
        test_cases.build_router(CaseReader(MongoCases(database), reader)),
        plans.build_router(*_plans(runs, reader, views, store, of_runs, database)),
        events.build_router(Views(hub, Stories(views, accepted))),
    ]


def _definition_routers(
    database: Database, apps_: Apps, audit: Audit, clock: Clock
) -> list[APIRouter]:
    """What people keep here by name; this service alone writes it."""
    definitions = Schedules(MongoDefinitions(database), apps_, audit, clock=clock)
    statistics = AppStatistics(MongoAppRuns(database), clock=clock)
    return [apps.build_router(apps_, statistics), schedules.build_router(definitions)]


def _plans(
    runs: RunRequests,
    reader: ExecutionReader,
    views: MongoExecutions,
    store: ObjectStore,
    of_runs: Lanes,
    database: Database,
) -> tuple[PlanReader, Reruns]:
    lane_steps = LaneSteps(MongoLaneSteps(database), of_runs.page)
    reader_of_plans = PlanReader(reader, views, store, lane_steps)
    return reader_of_plans, Reruns(runs, reader, reader_of_plans, views, of_runs)


def _bounds(group: GatewayGroup) -> Bounds:
    return Bounds(
        items=group.stream_queue,
        bytes=group.stream_queue_bytes,
        heartbeat=group.heartbeat_seconds,
        life=group.stream_seconds,
        stall=group.stream_stall_seconds,
        clients=group.stream_clients,
    )


def _work_routers(
    settings: GatewaySettings,
    intake: Intake,
    accepted: AcceptedEvents,
    database: Database,
    authenticator: Authenticator,
    clock: Clock,
) -> list[APIRouter]:
    work = WorkRequests(intake, clock=clock)
    preview = RetentionPreview(MongoAgedRecords(database), MongoQueue(database))
    secrets = {
        tenant: secret.get_secret_value()
        for tenant, secret in settings.auth.webhook_secrets.items()
    }
    return [
        scans.build_router(work, ScanReader(MongoScans(database), accepted)),
        extractions.build_router(work, ExtractionReader(MongoExtractions(database))),
        webhooks.build_router(work, authenticator, Signatures(secrets)),
        retention_routes.build_router(preview),
    ]


@dataclass(frozen=True, slots=True)
class Kept:
    """What tenants keep for their runs, and who serves it."""

    apps: Apps
    uploads: Uploads
    sweep: Turns
    fields: SealedFields
    warnings: PlanWarnings
    routers: Sequence[APIRouter]


def _kept(
    settings: GatewaySettings,
    database: Database,
    store: ObjectStore,
    audit: Audit,
    health: Health,
    clock: Clock,
) -> Kept:
    group = settings.gateway
    secrets = MongoTenantValues(database, SECRETS, clock=clock)
    variables = MongoTenantValues(database, VARIABLES, clock=clock)
    uploads = Uploads(
        MongoUploads(database),
        store,
        audit,
        clock=clock,
        room=Room(group.spool_dir, group.uploads_at_once),
        keep=timedelta(days=group.keep_uploads_days),
    )
    cipher = cipher_of(settings.security)
    apps_ = Apps(MongoConfigurations(database), audit, clock=clock)
    routers = (
        tenant_values.build_secrets(Secrets(secrets, audit, cipher=cipher)),
        tenant_values.build_variables(Variables(variables, audit)),
        upload_routes.build_router(uploads),
        *_definition_routers(database, apps_, audit, clock),
    )
    return Kept(
        apps_,
        uploads,
        sweep=Turns("uploads", uploads.sweep, seconds=group.upload_sweep_seconds, health=health),
        fields=SealedFields(cipher),
        warnings=PlanWarnings(secrets=secrets, variables=variables),
        routers=routers,
    )


def _quick(settings: MongoSettings, group: GatewayGroup) -> MongoSettings:
    """A caller is better off with a quick 503 than with a slow answer."""
    return settings.model_copy(
        update={
            "timeout_ms": group.storage_timeout_ms,
            "server_selection_timeout_ms": group.storage_timeout_ms,
        }
    )
