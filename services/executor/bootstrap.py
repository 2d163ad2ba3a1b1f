"""The parts of the executor and how they fit; the only place that constructs things. Connects nothing."""

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI

from services.executor.bringing_tables import Tables
from services.executor.clients.building import build_reach
from services.executor.commands.reach import Reach
from services.executor.commands.registry import build_registry
from services.executor.consumers import (
    execution_complete,
    run_control,
    run_control_tail,
    run_requested,
)
from services.executor.events import (
    FINISHED,
    QUEUED,
    REQUEUED,
    STARTED,
    WAITING,
    ExecutionEvents,
)
from services.executor.family import Family
from services.executor.intake import Intake
from services.executor.keeping import Keeping
from services.executor.offers import with_offers
from services.executor.presence import Card, Presence
from services.executor.processes.kernel import gain_no_privileges
from services.executor.processes.ownership import has_ended, lease_owner
from services.executor.processes.runner import LocalProcessRunner
from services.executor.processes.users import StepUsers
from services.executor.repository import MongoJournals
from services.executor.repository.ageing import MongoRecords
from services.executor.repository.collections import EXECUTIONS, LINES, STEPS, WAKES
from services.executor.repository.keeping import MongoKeptRuns
from services.executor.repository.kin import MongoKin
from services.executor.repository.recorded import MongoRecordedSteps
from services.executor.repository.schedules import MongoTimetable
from services.executor.repository.tenant_values import MongoSecrets, MongoVariables
from services.executor.repository.uploads import MongoUploads
from services.executor.repository.workers import MongoWorkers
from services.executor.retention import Ages, Retention
from services.executor.schedules import Schedules
from services.executor.scope import RunParts
from services.executor.service import Executor
from services.executor.settings import ExecutorGroup, ExecutorSettings
from services.executor.sources.building import build_sources
from services.executor.workspace import Workspace
from shared.clock import Clock, SystemClock
from shared.errors import ConfigurationError
from shared.events.execution import ExecutionComplete
from shared.events.run import RunControl, RunRequested
from shared.kafka.batches import BatchConsumer, Handle
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
from shared.views.queue import SLOTS
from shared.web.app import build_web_app
from shared.web.server import WebServer
from shared.work.ports import Wakes
from shared.work.queue import MongoWork, Queue, build_work
from shared.work.runner import WorkLoop
from shared.work.server_clock import ServerClock

TITLE = "Cadenza executor"
GROUP = "executor"
CONTROL_GROUP = f"{GROUP}-control"
RESULTS_GROUP = f"{GROUP}-results"
PACE_SECONDS = 0.015
"""Between two batches of requests: a little shorter than the gateway's, whose groups they are."""
TOPICS_IN = (RunRequested.topic, RunControl.topic, ExecutionComplete.topic)
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
    group = with_offers(settings.executor)
    clock = SystemClock()
    health = Health(settings.runtime)
    mongo = Mongo(settings.mongo)
    health.add_check("mongo", mongo.check)
    publisher = KafkaEventPublisher(settings.kafka, trace_headers=tracing.inject)
    health.add_check("kafka", publisher.check)
    objects = WatchedStore(build_store(settings.objects, settings.aws, mongo.database))
    health.add_check("objects", objects.check)
    workspace = Workspace(group.work_dir, host=group.host_id, shared=bool(group.step_uids))
    reach, clients = build_reach(group, objects)

    queue = work_queue(group)
    owner = lease_owner(owner_mark or group.host_id)
    parts = build_work(
        mongo.database,
        queue,
        publisher=publisher,
        owner=owner,
        is_gone=has_ended if all_clear else None,
        labels=group.label_set(),
    )
    family = _family(parts.work, mongo.database, objects, clock, lambda: loop)
    executor = Executor(
        journals=MongoJournals(
            mongo.database, work=parts.work, commit=parts.commit, publisher=publisher, clock=clock
        ),
        folders=workspace,
        parts=_run_parts(
            settings, objects, owner_mark, mongo.database, parts.work.wakes, family, reach
        ),
    )
    loop = _loop(settings, parts.work, queue, executor, health, live_until)
    workers = MongoWorkers(mongo.database)
    web = _web(settings, health)
    keeping = _keeping(group, mongo, objects, clock)
    recorded = MongoRecordedSteps(mongo.database)
    intake = Intake(
        parts.work, objects, keeping, workers, recorded, wakes=parts.work.wakes, family=family
    )
    resources: list[Resource] = [mongo, publisher, workspace, *clients, *parts.resources, family]
    resources += [_presence(group, owner, workers, parts.work, executor, loop, health), loop]
    resources += _consumers(
        settings, health, executor, loop, intake, publisher, mongo.database, parts.work.wakes
    )
    resources += [keeping, *_upkeep(group, mongo, objects, clock, parts.work, loop)]
    resources.append(WebServer(web, settings.http))
    return App(resources, health, web)


def _presence(
    group: ExecutorGroup,
    owner: str,
    workers: MongoWorkers,
    work: MongoWork,
    executor: Executor,
    loop: WorkLoop,
    health: Health,
) -> Presence:
    """This process in the list of workers."""
    card = Card(
        id=owner.rpartition("/")[2],
        host=group.host_id,
        pid=os.getpid(),
        labels=group.label_set(),
        slots=group.run_slots,
        version=VERSION,
        keep_days=group.keep_days(),
    )
    return Presence(
        card,
        workers,
        work,
        used=lambda: len(loop.running),
        wake=loop.wake,
        cancel=executor.cancel,
        health=health,
    )


def _loop(
    settings: ExecutorSettings,
    work: MongoWork,
    queue: Queue,
    executor: Executor,
    health: Health,
    live_until: Callable[[float | None], None],
) -> WorkLoop:
    """What claims, renews, recovers."""
    loop = WorkLoop(
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
    work.when_ready(loop.wake)
    return loop


def _family(
    work: MongoWork,
    database: Database,
    objects: ObjectStore,
    clock: Clock,
    loop: Callable[[], WorkLoop],
) -> Family:
    """`loop` is made after it."""
    kin = MongoKin(database)
    return Family(
        work,
        kin,
        work.wakes,
        objects,
        tables=Tables(kin, MongoUploads(database), objects),
        clock=clock,
        free=lambda: loop().free,
        wake=lambda: loop().wake(),
    )


def _consumers(
    settings: ExecutorSettings,
    health: Health,
    executor: Executor,
    loop: WorkLoop,
    intake: Intake,
    publisher: KafkaEventPublisher,
    database: Database,
    wakes: Wakes,
) -> list[Resource]:
    """What comes in from Kafka."""
    dead_letters = DeadLetters(publisher)

    def reader(topic: str, group: str, handle: Handle, **options: Any) -> BatchConsumer:
        return BatchConsumer(
            settings.kafka,
            topics=[topic],
            group=group,
            handle=handle,
            health=health,
            dead_letters=dead_letters,
            window=failure_window(database, group, settings.kafka),
            **options,
        )

    requested = run_requested.build(intake, dead_letters, free=lambda: loop.free, wake=loop.wake)
    ended = execution_complete.build(wakes, dead_letters)
    return [
        reader(RunRequested.topic, GROUP, requested, pace_seconds=PACE_SECONDS),
        reader(RunControl.topic, CONTROL_GROUP, run_control.build(intake, dead_letters)),
        reader(ExecutionComplete.topic, RESULTS_GROUP, ended, patience_ms=500),
        Tail(
            settings.kafka,
            topic=RunControl.topic,
            on_record=run_control_tail.build(executor, intake),
            health=health,
        ),
    ]


def _retention(group: ExecutorGroup, mongo: Mongo, objects: ObjectStore, clock: Clock) -> Retention:
    return Retention(
        MongoRecords(mongo.database),
        objects,
        Ages.of(group),
        clock=clock,
        interval=group.retention_check_seconds,
    )


def _upkeep(
    group: ExecutorGroup,
    mongo: Mongo,
    objects: ObjectStore,
    clock: Clock,
    work: MongoWork,
    loop: WorkLoop,
) -> list[Resource]:
    """What has its own hours."""
    return [_retention(group, mongo, objects, clock), _schedules(group, mongo, work, loop)]


def _keeping(group: ExecutorGroup, mongo: Mongo, objects: ObjectStore, clock: Clock) -> Keeping:
    runs = MongoKeptRuns(mongo.database, clock=clock)
    return Keeping(runs, objects, interval=group.retention_check_seconds)


def _schedules(group: ExecutorGroup, mongo: Mongo, work: MongoWork, loop: WorkLoop) -> Schedules:
    timetable = MongoTimetable(
        mongo.database,
        owner=lease_owner(group.host_id),
        clock=ServerClock(SystemClock()),
        claim_seconds=min(10.0, group.lease_seconds),
    )
    return Schedules(timetable, work, wake=loop.wake)


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
        waiting=WAITING,
        wakes=WAKES,
        lines=LINES,
        slots=SLOTS,
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
    settings: ExecutorSettings,
    objects: ObjectStore,
    owner_mark: str | None,
    database: Database,
    wakes: Wakes,
    family: Family,
    reach: Reach,
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
        sources=build_sources(settings, MongoUploads(database), objects, processes),
        wakes=wakes,
        family=family,
        rest_after=group.rest_after_seconds,
        reach=reach,
    )
