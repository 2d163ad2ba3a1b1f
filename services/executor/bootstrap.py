"""The parts of the executor and how they fit; the only place that constructs things. Connects nothing."""

import asyncio
import hashlib
import os
from collections.abc import Callable, Sequence
from datetime import timedelta

from fastapi import FastAPI

from services.executor.commands.registry import build_registry
from services.executor.consumers import run_control, run_control_tail, run_requested
from services.executor.events import FINISHED, QUEUED, REQUEUED, STARTED, ExecutionEvents
from services.executor.intake import Intake
from services.executor.processes.kernel import gain_no_privileges
from services.executor.processes.ownership import has_ended, lease_owner
from services.executor.processes.runner import LocalProcessRunner
from services.executor.processes.users import StepUsers
from services.executor.repository import MongoJournals
from services.executor.repository.ageing import MongoRecords
from services.executor.repository.collections import EXECUTIONS, STEPS
from services.executor.repository.tenant_values import MongoSecrets, MongoVariables
from services.executor.repository.uploads import MongoUploads
from services.executor.retention import Ages, Retention
from services.executor.scope import RunParts
from services.executor.service import Executor
from services.executor.settings import ExecutorGroup, ExecutorSettings
from services.executor.sources.bringing import Sources
from services.executor.sources.cache import PackCache
from services.executor.workspace import Workspace
from shared.clock import Clock, SystemClock
from shared.errors import ConfigurationError
from shared.events.run import RunControl, RunRequested
from shared.kafka.batches import BatchConsumer
from shared.kafka.delivery import DeadLetters
from shared.kafka.publishing import KafkaEventPublisher
from shared.kafka.tail import Tail
from shared.kafka.topics import BY_NAME
from shared.mongo.client import Database, Mongo
from shared.mongo.consumer_states import failure_window
from shared.objects.factory import build_store
from shared.objects.ports import ObjectStore
from shared.objects.watched import WatchedStore
from shared.observability import tracing
from shared.ports import Resource
from shared.runtime import Health
from shared.security.encryption import cipher_of
from shared.security.secrets import ChainedSecrets, SettingsSecrets
from shared.service import VERSION, App
from shared.settings import SecuritySettings
from shared.web.app import build_web_app
from shared.web.server import WebServer
from shared.work.queue import MongoWork, Queue, build_work
from shared.work.runner import WorkLoop

TITLE = "Cadenza executor"
GROUP = "executor"
CONTROL_GROUP = f"{GROUP}-control"
PACE_SECONDS = 0.015
"""Between two batches of requests: a little shorter than the gateway's, whose groups they are."""
TOPICS_IN = (RunRequested.topic, RunControl.topic)
TOPICS_OUT = ("execution-events", "execution-complete")


def build_app(
    settings: ExecutorSettings,
    *,
    owner_mark: str | None = None,
    all_clear: bool = False,
    live_until: Callable[[float | None], None] = lambda _deadline: None,
) -> App:
    """`owner_mark` goes into the environment of every step; `all_clear`: what a predecessor on this host had started is
    gone; `live_until` tells the guardian the worker's deadline.
    """
    group = settings.executor
    clock = SystemClock()
    health = Health(settings.runtime)
    mongo = Mongo(settings.mongo)
    health.add_check("mongo", mongo.check)
    publisher = KafkaEventPublisher(settings.kafka, trace_headers=tracing.inject)
    health.add_check("kafka", publisher.check)
    objects = WatchedStore(build_store(settings.objects, settings.aws, mongo.database))
    health.add_check("objects", objects.check)
    workspace = Workspace(group.work_dir, host=group.host_id, shared=bool(group.step_uids))

    # the queue, and everything that is written under its leases
    queue = work_queue(group)
    parts = build_work(
        mongo.database,
        queue,
        publisher=publisher,
        owner=lease_owner(owner_mark or group.host_id),
        is_gone=has_ended if all_clear else None,
    )
    executor = Executor(
        journals=MongoJournals(
            mongo.database, work=parts.work, commit=parts.commit, publisher=publisher, clock=clock
        ),
        folders=workspace,
        parts=_run_parts(settings, objects, owner_mark, mongo.database),
    )
    loop = _loop(settings, parts.work, queue, executor, health, live_until)
    web = _web(settings, health)
    resources: list[Resource] = [
        mongo,
        publisher,
        workspace,
        *parts.resources,
        loop,
        *_consumers(
            settings,
            health,
            executor,
            loop,
            Intake(parts.work, objects),
            publisher,
            mongo.database,
        ),
        _retention(group, mongo, objects, clock),
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
        queue=queue.collection,
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
    database: Database,
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
            window=failure_window(database, GROUP, settings.kafka),
            pace_seconds=PACE_SECONDS,
        ),
        BatchConsumer(
            settings.kafka,
            topics=[RunControl.topic],
            group=CONTROL_GROUP,
            handle=run_control.build(intake, dead_letters),
            health=health,
            dead_letters=dead_letters,
            window=failure_window(database, CONTROL_GROUP, settings.kafka),
        ),
        Tail(
            settings.kafka,
            topic=RunControl.topic,
            on_record=run_control_tail.build(executor, intake),
            health=health,
        ),
    ]


def _retention(group: ExecutorGroup, mongo: Mongo, objects: ObjectStore, clock: Clock) -> Retention:
    ages = Ages(
        executions=timedelta(days=group.keep_executions_days),
        steps=timedelta(days=group.keep_steps_days),
        artifacts=timedelta(days=group.keep_artifacts_days),
    )
    records = MongoRecords(mongo.database)
    return Retention(records, objects, ages, clock=clock, interval=group.retention_check_seconds)


def _web(settings: ExecutorSettings, health: Health) -> FastAPI:
    """Health only."""
    return build_web_app(
        title=TITLE,
        version=VERSION,
        settings=settings.http,
        health=health,
        routers=[],
        authenticator=None,
    )


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


def _users(uids: Sequence[int]) -> StepUsers:
    """Raises ConfigurationError where this process may not become another user."""
    if uids and os.geteuid() != 0:
        raise ConfigurationError("EXECUTOR__STEP_UIDS: only root can start steps as other users")
    if uids:
        gain_no_privileges()
    return StepUsers(uids)


def _run_parts(
    settings: ExecutorSettings, objects: ObjectStore, owner_mark: str | None, database: Database
) -> RunParts:
    group = settings.executor
    cipher = cipher_of(settings.security)
    seconds = group.secret_cache_seconds
    processes = LocalProcessRunner(
        grace_seconds=group.grace_seconds,
        sample_seconds=group.metrics_seconds,
        guarded=owner_mark is not None,
    )
    return RunParts(
        commands=build_registry(),
        processes=processes,
        secrets=ChainedSecrets(
            MongoSecrets(database, cipher, seconds=seconds), SettingsSecrets(group.secrets)
        ),
        variables=MongoVariables(database, seconds=seconds),
        objects=objects,
        clock=SystemClock(),
        room=asyncio.Semaphore(group.process_limit),
        inherited=group.inherited,
        owner=owner_mark,
        default_timeout=group.default_step_timeout_seconds,
        # As long as the topic keeps requests; an older one comes out of a backlog or out of somebody's copy.
        expires_after=BY_NAME[RunRequested.topic].retention_ms / 1000,
        inline_output=group.inline_output_bytes,
        max_artifacts=group.max_artifact_bytes,
        limits=group.limits(),
        users=_users(group.step_uids),
        cipher=cipher,
        sources=Sources(
            PackCache(
                group.work_dir.resolve() / "sources",
                key=_sealing_key(settings.security),
                most_bytes=group.source_cache_bytes,
            ),
            uploads=MongoUploads(database),
            objects=objects,
            processes=processes,
            options=group.source_options(),
        ),
    )


def _sealing_key(security: SecuritySettings) -> bytes:
    """Of the cache of sources: steps must not know it. With one of the settings the cache outlives the process."""
    keys = [key.get_secret_value() for key in security.encryption_keys.values()]
    return hashlib.sha256(f"sources:{keys[0]}".encode()).digest() if keys else os.urandom(32)
