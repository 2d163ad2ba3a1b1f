"""The parts of the extractor and how they fit; the only place that constructs things. Connects nothing."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import FastAPI

from services.extractor.clients.virtuoso import VirtuosoClient
from services.extractor.consumers import READERS, build_handler
from services.extractor.directory import Directory
from services.extractor.events import FINISHED, ExtractionEvents
from services.extractor.fetching import Fetcher
from services.extractor.indexing import Indexer
from services.extractor.lake.index import LakeIndex
from services.extractor.lake.keys import CustomerKeys
from services.extractor.lake.query import LakeQuery, QueryLimits
from services.extractor.lake.writer import LakeWriter
from services.extractor.models import Customer
from services.extractor.ports import Source
from services.extractor.reading import Reading
from services.extractor.repository import MongoCustomers, MongoExtractions
from services.extractor.routes import extractions as extraction_routes
from services.extractor.routes import lake
from services.extractor.service import Extractor, Intake
from services.extractor.settings import ExtractorGroup, ExtractorSettings
from services.extractor.sweeping import Sweeper
from services.extractor.worker import Worker
from shared.clock import Clock, SystemClock
from shared.events.extraction import ExtractionComplete
from shared.ids import new_id
from shared.kafka.batches import BatchConsumer
from shared.kafka.delivery import DeadLetters
from shared.kafka.publishing import KafkaEventPublisher
from shared.mongo.client import Database, Mongo
from shared.mongo.consumer_states import failure_window
from shared.objects.factory import build_store
from shared.objects.ports import ObjectStore
from shared.objects.watched import WatchedStore
from shared.observability import tracing
from shared.ports import Resource
from shared.runtime import Health
from shared.security.secrets import SettingsSecrets
from shared.service import VERSION, App
from shared.views.extractions import EXTRACTIONS
from shared.web.app import build_web_app
from shared.web.auth import ApiKeyAuthenticator
from shared.web.server import WebServer
from shared.work.ports import Work
from shared.work.queue import Queue, build_work
from shared.work.runner import WorkLoop

TITLE = "Cadenza extractor"
TOPICS_IN = tuple(READERS)
TOPICS_OUT = (ExtractionComplete.topic,)
LEASE_MARGIN = 0.1
"""Share of a lease by which a worker takes it for lost earlier than the others do."""


def build_app(
    settings: ExtractorSettings,
    *,
    source: Source | None = None,
    store: ObjectStore | None = None,
    clock: Clock | None = None,
) -> App:
    """Real parts by default, others by keyword."""
    group = settings.extractor
    clock = clock or SystemClock()
    health = Health(settings.runtime)
    queue = _queue(group)
    mongo = Mongo(settings.mongo)
    health.add_check("mongo", mongo.check)
    publisher = KafkaEventPublisher(settings.kafka, trace_headers=tracing.inject)
    health.add_check("kafka", publisher.check)
    parts = build_work(mongo.database, queue, publisher=publisher, owner=new_id(), clock=clock)
    resources: list[Resource] = [mongo, publisher, *parts.resources]
    if source is None:
        source = client = VirtuosoClient(group, clock=clock)
        resources.append(client)
    if store is None:
        store = lake = WatchedStore(build_store(settings.objects, settings.aws, mongo.database))
        health.add_check("objects", lake.check)
    keys = _Keys(group.lake_prefix)
    index = LakeIndex(store)
    extractions = MongoExtractions(mongo.database, clock=clock)
    stored, secrets = MongoCustomers(mongo.database), SettingsSecrets(group.secrets)
    customers = Directory(group.customers, stored, secrets=secrets, clock=clock)
    indexer = Indexer(
        index=index,
        customers=customers,
        keys=keys,
        health=health,
        merge_seconds=group.merge_seconds,
    )
    extractor = _extractor(group, customers, source, LakeWriter(store), clock=clock, keys=keys)
    worker = Worker(
        work=parts.work, extractor=extractor, extractions=extractions, stored=indexer.mark
    )
    loop = _loop(group, parts.work, worker, queue=queue, health=health)
    sweeper = Sweeper(
        extractions=extractions,
        customers=customers,
        index=index,
        keys=keys,
        fresh=indexer.mark,
        wake=loop.wake,
        health=health,
        seconds=group.sweep_seconds,
    )
    intake = Intake(work=parts.work, extractions=extractions, customers=customers, wake=loop.wake)
    consumer = _consumer(settings, intake, publisher, health, mongo.database)
    query = LakeQuery(QueryLimits(group.query_rows, group.query_seconds, group.query_memory))
    reading = Reading(
        extractions=extractions, customers=customers, index=index, query=query, keys=keys
    )
    web = _web(settings, reading, health)
    resources += [indexer, loop, sweeper, consumer, WebServer(web, settings.http)]
    return App(resources, health, web)


def _queue(group: ExtractorGroup) -> Queue:
    return Queue(
        EXTRACTIONS,
        ExtractionEvents(),
        finished=FINISHED,
        lease_seconds=group.lease_seconds,
        margin_seconds=group.lease_seconds * LEASE_MARGIN,
        renew_seconds=group.renew_seconds,
    )


def _extractor(
    group: ExtractorGroup,
    customers: Directory,
    source: Source,
    lake_writer: LakeWriter,
    *,
    clock: Clock,
    keys: Callable[[Customer], CustomerKeys],
) -> Extractor:
    return Extractor(
        customers=customers,
        fetcher=Fetcher(source, clock=clock, cache_seconds=group.cache_seconds),
        lake=lake_writer,
        clock=clock,
        keys=keys,
        unfinished_wait=group.unfinished_wait_seconds,
        unfinished_poll=group.unfinished_poll_seconds,
    )


@dataclass(frozen=True, slots=True)
class _Keys:
    """Customer → where its things lie."""

    prefix: str

    def __call__(self, customer: Customer) -> CustomerKeys:
        return CustomerKeys(self.prefix.format(tenant=customer.tenant), customer.slug)


def _loop(
    group: ExtractorGroup, work: Work, worker: Worker, *, queue: Queue, health: Health
) -> WorkLoop:
    return WorkLoop(
        work,
        worker.run,
        name="extractor",
        queue=queue.collection,
        slots=group.slots,
        health=health,
        lease_seconds=queue.lease_seconds,
        margin_seconds=queue.margin_seconds,
        renew_seconds=queue.renew_seconds,
        drain_seconds=group.drain_seconds,
        on_cancel=worker.cancel,
    )


def _consumer(
    settings: ExtractorSettings,
    intake: Intake,
    publisher: KafkaEventPublisher,
    health: Health,
    database: Database,
) -> BatchConsumer:
    dead_letters = DeadLetters(publisher)
    return BatchConsumer(
        settings.kafka,
        topics=TOPICS_IN,
        group=settings.extractor.consumer_group,
        handle=build_handler(intake, dead_letters),
        health=health,
        dead_letters=dead_letters,
        window=failure_window(database, settings.extractor.consumer_group, settings.kafka),
    )


def _web(settings: ExtractorSettings, reading: Reading, health: Health) -> FastAPI:
    return build_web_app(
        title=TITLE,
        version=VERSION,
        settings=settings.http,
        health=health,
        routers=[extraction_routes.build_router(reading), lake.build_router(reading)],
        authenticator=ApiKeyAuthenticator(settings.auth),
    )
