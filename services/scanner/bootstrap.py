"""The parts of the scanner and how they fit; the only place that constructs things. Connects nothing."""

from collections.abc import Callable

from fastapi import FastAPI

from services.scanner import repository
from services.scanner.aws import registry
from services.scanner.aws.session import AwsCloud
from services.scanner.consumers import scan_requested
from services.scanner.models import Account
from services.scanner.ports import Cloud, Resources
from services.scanner.routes import scanners
from services.scanner.service import Entry, Limits, ScanService
from services.scanner.settings import AccountSettings, ScannerGroup, ScannerSettings
from services.scanner.worker import Worker
from shared.clock import Clock, SystemClock
from shared.ids import new_id
from shared.kafka.batches import BatchConsumer
from shared.kafka.delivery import DeadLetters
from shared.kafka.publishing import KafkaEventPublisher
from shared.mongo.client import Database, Mongo
from shared.mongo.consumer_states import failure_window
from shared.observability import tracing
from shared.ports import Resource
from shared.retry import RetryPolicy
from shared.runtime import Health
from shared.service import VERSION, App
from shared.web.app import build_web_app
from shared.web.auth import ApiKeyAuthenticator
from shared.web.server import WebServer
from shared.work.ports import Work
from shared.work.queue import Queue, build_work
from shared.work.runner import WorkLoop

TITLE = "Cadenza scanner"
TOPICS_IN = ("scan-requested",)
TOPICS_OUT = ("scan-results",)


def build_app(
    settings: ScannerSettings, *, cloud: Cloud | None = None, clock: Clock | None = None
) -> App:
    """Real parts by default, others by keyword."""
    clock = clock or SystemClock()
    health = Health(settings.runtime)
    group = settings.scanner
    mongo = Mongo(settings.mongo)
    health.add_check("mongo", mongo.check)
    publisher = KafkaEventPublisher(settings.kafka, trace_headers=tracing.inject)
    health.add_check("kafka", publisher.check)
    queue = repository.queue(lease_seconds=group.lease_seconds, renew_seconds=group.renew_seconds)
    parts = build_work(
        mongo.database, queue, publisher=publisher, owner=f"scanner/{new_id()}", clock=clock
    )
    resources: list[Resource] = [mongo, publisher, *parts.resources]
    if cloud is None:
        cloud = real_cloud = _aws(settings)
        resources.append(real_cloud)
    worker = Worker(
        work=parts.work,
        scans=repository.MongoScans(parts),
        service=_service(group, cloud, repository.MongoResources(mongo.database), clock),
        clock=clock,
        pause_seconds=group.poll_seconds,
    )
    loop = _loop(group, parts.work, worker, queue=queue, health=health)
    consumer = _consumer(
        settings, parts.work, publisher, wake=loop.wake, health=health, database=mongo.database
    )
    web = _web(settings, health)
    resources += [loop, consumer, WebServer(web, settings.http)]
    return App(resources, health, web)


def _aws(settings: ScannerSettings) -> AwsCloud:
    return AwsCloud(
        settings.aws,
        scanners=registry.build(),
        max_calls=settings.scanner.max_calls,
        call_timeout=settings.scanner.call_timeout_seconds,
    )


def _service(group: ScannerGroup, cloud: Cloud, resources: Resources, clock: Clock) -> ScanService:
    return ScanService(
        cloud=cloud,
        resources=resources,
        entries=[_entry(account) for account in group.accounts],
        regions=group.regions,
        limits=Limits(regions=group.max_regions, services=group.max_services),
        retry=RetryPolicy(max_attempts=group.attempts, initial_delay=group.retry_seconds),
        clock=clock,
    )


def _entry(account: AccountSettings) -> Entry:
    return Entry(
        Account(account.id, account.name, account.role_arn, account.profile),
        frozenset(account.tenants),
    )


def _loop(
    group: ScannerGroup, work: Work, worker: Worker, *, queue: Queue, health: Health
) -> WorkLoop:
    return WorkLoop(
        work,
        worker.run,
        name="scanner",
        queue=queue.collection,
        slots=group.max_scans,
        health=health,
        poll_seconds=group.poll_seconds,
        lease_seconds=queue.lease_seconds,
        margin_seconds=queue.margin_seconds,
        renew_seconds=queue.renew_seconds,
        recover_seconds=min(5.0, queue.lease_seconds / 4),
        drain_seconds=group.drain_seconds,
        on_cancel=worker.cancel,
    )


def _consumer(
    settings: ScannerSettings,
    work: Work,
    publisher: KafkaEventPublisher,
    *,
    wake: Callable[[], None],
    health: Health,
    database: Database,
) -> BatchConsumer:
    dead_letters = DeadLetters(publisher)
    return BatchConsumer(
        settings.kafka,
        topics=TOPICS_IN,
        group=settings.scanner.consumer_group,
        handle=scan_requested.build(work, dead_letters, wake=wake),
        health=health,
        dead_letters=dead_letters,
        window=failure_window(database, settings.scanner.consumer_group, settings.kafka),
    )


def _web(settings: ScannerSettings, health: Health) -> FastAPI:
    return build_web_app(
        title=TITLE,
        version=VERSION,
        settings=settings.http,
        health=health,
        routers=[scanners.build_router(registry.SCANNERS)],
        authenticator=ApiKeyAuthenticator(settings.auth),
    )
