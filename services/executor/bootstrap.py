"""The parts of the executor and how they fit; the only place that constructs things. Connects nothing."""

import asyncio
from collections.abc import Callable

from services.executor.commands.registry import build_registry
from services.executor.consumers import run_control, run_control_tail, run_requested
from services.executor.events import FINISHED, QUEUED, REQUEUED, STARTED, ExecutionEvents
from services.executor.intake import Intake
from services.executor.processes.runner import LocalProcessRunner
from services.executor.repository import MongoJournals
from services.executor.repository.collections import EXECUTIONS, STEPS
from services.executor.scope import RunParts
from services.executor.service import Executor
from services.executor.settings import ExecutorGroup, ExecutorSettings
from services.executor.workspace import Workspace
from shared.clock import SystemClock
from shared.events.run import RunControl, RunRequested
from shared.ids import new_id
from shared.kafka.batches import BatchConsumer
from shared.kafka.delivery import DeadLetters
from shared.kafka.publishing import KafkaEventPublisher
from shared.kafka.tail import Tail
from shared.mongo.client import Mongo
from shared.objects.factory import build_store
from shared.objects.ports import ObjectStore
from shared.objects.watched import WatchedStore
from shared.observability import tracing
from shared.ports import Resource
from shared.runtime import Health
from shared.security.secrets import SettingsSecrets
from shared.service import VERSION, App
from shared.web.app import build_web_app
from shared.web.server import WebServer
from shared.work.queue import MongoWork, Queue, build_work
from shared.work.runner import WorkLoop

TITLE = "Cadenza executor"
GROUP = "executor"
TOPICS_IN = (RunRequested.topic, RunControl.topic)
TOPICS_OUT = ("execution-events", "execution-complete")


def build_app(
    settings: ExecutorSettings,
    *,
    owner_mark: str | None = None,
    live_until: Callable[[float | None], None] = lambda _deadline: None,
) -> App:
    """`owner_mark` goes into the environment of every step; `live_until` tells the guardian the worker's deadline."""
    group = settings.executor
    clock = SystemClock()
    health = Health(settings.runtime)
    mongo = Mongo(settings.mongo)
    health.add_check("mongo", mongo.check)
    publisher = KafkaEventPublisher(settings.kafka, trace_headers=tracing.inject)
    health.add_check("kafka", publisher.check)
    objects = WatchedStore(build_store(settings.objects, settings.aws, mongo.database))
    health.add_check("objects", objects.check)
    workspace = Workspace(group.work_dir, host=group.host_id)

    # the queue, and everything that is written under its leases
    queue = work_queue(group)
    parts = build_work(
        mongo.database, queue, publisher=publisher, owner=f"{group.host_id}/{new_id()}"
    )
    executor = Executor(
        journals=MongoJournals(
            mongo.database, work=parts.work, commit=parts.commit, publisher=publisher, clock=clock
        ),
        folders=workspace,
        parts=_run_parts(settings, objects, owner_mark),
    )
    loop = _loop(settings, parts.work, queue, executor, health, live_until)
    web = build_web_app(
        title=TITLE,
        version=VERSION,
        settings=settings.http,
        health=health,
        routers=[],
        authenticator=None,
    )
    resources: list[Resource] = [
        mongo,
        publisher,
        workspace,
        *parts.resources,
        loop,
        *_consumers(settings, health, executor, loop, Intake(parts.work, objects), publisher),
        WebServer(web, settings.http),
    ]
    return App(resources, health, web)


def _loop(
    settings: ExecutorSettings,
    work: MongoWork,
    queue: Queue,
    executor: Executor,
    health: Health,
    live_until: Callable[[float | None], None],
) -> WorkLoop:
    """What claims, renews, recovers."""
    return WorkLoop(
        work,
        executor.run,
        slots=settings.executor.run_slots,
        poll_seconds=settings.executor.poll_seconds,
        lease_seconds=queue.lease_seconds,
        margin_seconds=queue.margin_seconds,
        renew_seconds=queue.renew_seconds,
        recover_seconds=min(5.0, queue.lease_seconds / 4),
        health=health,
        on_cancel=executor.cancel,
        on_deadline=live_until,
        drain_seconds=settings.runtime.drain_seconds,
    )


def _consumers(
    settings: ExecutorSettings,
    health: Health,
    executor: Executor,
    loop: WorkLoop,
    intake: Intake,
    publisher: KafkaEventPublisher,
) -> list[Resource]:
    """What comes in from Kafka."""
    dead_letters = DeadLetters(publisher)
    return [
        BatchConsumer(
            settings.kafka,
            topics=[RunRequested.topic],
            group=GROUP,
            handle=run_requested.build(
                intake, dead_letters, free=lambda: loop.free, wake=loop.wake
            ),
            health=health,
            dead_letters=dead_letters,
        ),
        BatchConsumer(
            settings.kafka,
            topics=[RunControl.topic],
            group=f"{GROUP}-control",
            handle=run_control.build(intake, dead_letters),
            health=health,
            dead_letters=dead_letters,
        ),
        Tail(
            settings.kafka,
            topic=RunControl.topic,
            on_record=run_control_tail.build(executor, intake),
            health=health,
        ),
    ]


def work_queue(group: ExecutorGroup) -> Queue:
    """The executor's queue: executions with their steps."""
    return Queue(
        collection=EXECUTIONS,
        children=STEPS,
        factory=ExecutionEvents(),
        queued=QUEUED,
        started=STARTED,
        requeued=REQUEUED,
        finished=FINISHED,
        lease_seconds=group.lease_seconds,
        margin_seconds=min(5.0, group.lease_seconds / 6),
        renew_seconds=group.renew_seconds,
    )


def _run_parts(
    settings: ExecutorSettings, objects: ObjectStore, owner_mark: str | None
) -> RunParts:
    group = settings.executor
    return RunParts(
        commands=build_registry(),
        processes=LocalProcessRunner(
            grace_seconds=group.grace_seconds, sample_seconds=group.metrics_seconds
        ),
        secrets=SettingsSecrets(group.secrets),
        objects=objects,
        clock=SystemClock(),
        room=asyncio.Semaphore(group.process_limit),
        inherited=group.inherited,
        owner=owner_mark,
        default_timeout=group.default_step_timeout_seconds,
        max_output=group.max_output_bytes,
        inline_output=group.inline_output_bytes,
    )
