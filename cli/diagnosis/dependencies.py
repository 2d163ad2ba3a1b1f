"""Kafka, MongoDB and the object store, as the services would meet them."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cli import dead_letters
from cli.diagnosis.finding import Finding, note, ok, problem, trouble
from cli.targets import Targets
from sandbox import migration
from shared.errors import CadenzaError, ConfigurationError, Forbidden
from shared.ids import new_id
from shared.kafka import topics
from shared.mongo.client import Mongo
from shared.mongo.diagnosis import Answer, ask
from shared.objects.factory import build_store

MOST_SKEW = 5.0
"""Seconds. Leases use the server's time alone; what people read in records uses both clocks."""
NEARLY_FULL = 0.95
MIGRATE = "Run `cadenza migrate`."
START = "Start it, or mend {setting} (`cadenza up` brings one of its own)."


async def findings(at: Targets, *, required: frozenset[str]) -> list[Finding]:
    """`required` names those of kafka, mongo, objects that the user has set up; others may be absent."""
    groups = await asyncio.gather(
        _listed(_kafka(at, required="kafka" in required)),
        _listed(_mongo(at, required="mongo" in required)),
        _listed(_objects(at, required="objects" in required)),
    )
    return [finding for group in groups for finding in group]


async def _listed(found: AsyncIterator[Finding]) -> list[Finding]:
    return [finding async for finding in found]


async def _kafka(at: Targets, *, required: bool) -> AsyncIterator[Finding]:
    where = at.kafka.bootstrap_servers
    try:
        drift = await topics.drift(at.kafka)
    except ConfigurationError as error:
        yield problem("Kafka", f"{where}: {error.message}", "Mend the KAFKA__ settings.")
        return
    except CadenzaError as error:
        fix = START.format(setting="KAFKA__BOOTSTRAP_SERVERS")
        yield trouble("Kafka", f"{where}: {error.message}", fix, required=required)
        return
    yield ok("Kafka", f"{where} answers")
    if not drift:
        yield ok("topics", "as declared")
    for line in drift:
        yield problem("topics", line, MIGRATE)


async def _mongo(at: Targets, *, required: bool) -> AsyncIterator[Finding]:
    try:
        answer = await ask(at.mongo)
    except ConfigurationError as error:
        yield problem("MongoDB", error.message, "Mend the MONGO__ settings.")
        return
    except CadenzaError as error:
        fix = START.format(setting="MONGO__URI")
        yield trouble("MongoDB", error.message, fix, required=required)
        return
    for finding in _server(answer):
        yield finding
    if answer.replica_set is not None and answer.primary:
        async for finding in _indexes(at):
            yield finding
        async for finding in _pauses():
            yield finding


def _server(answer: Answer) -> list[Finding]:
    found = []
    text = f"{answer.address} answers (version {answer.version})"
    if answer.replica_set is None:
        fix = (
            "Start it with --replSet rs0 and run rs.initiate() once; majority writes depend on it."
        )
        found.append(problem("MongoDB", f"{text}, but it is no replica set", fix))
    elif not answer.primary:
        fix = "See rs.status(): a majority of the members must be up."
        found.append(problem("MongoDB", f"{text}, but its set has no primary", fix))
    else:
        found.append(ok("MongoDB", f"{text}, replica set {answer.replica_set}"))
    skew = f"the clock of {answer.address} is {answer.skew_seconds:+.1f} s from this one"
    if abs(answer.skew_seconds) <= MOST_SKEW:
        found.append(ok("clocks", skew))
    else:
        fix = "Synchronise both machines (chronyd, systemd-timesyncd)."
        found.append(problem("clocks", skew, fix))
    return found


async def _indexes(at: Targets) -> AsyncIterator[Finding]:
    try:
        drift = await migration.drift(at.mongo)
    except CadenzaError as error:
        yield problem("MongoDB", error.message, "Mend the MONGO__ settings.")
        return
    if not drift:
        yield ok("indexes", "as declared")
    missing = [line for line in drift if line.endswith("is missing")]
    for line in missing:
        yield problem("indexes", line, MIGRATE)
    for line in drift:
        if line.endswith("differs from its declaration"):
            fix = "Drop it in the mongo shell, then run `cadenza migrate`; it builds in the background."
            yield problem("indexes", line, fix)
        elif line not in missing:
            yield note("indexes", line, "Drop it unless somebody needs it: it costs every write.")


async def _pauses() -> AsyncIterator[Finding]:
    """Consumers that stand still, as they have noted it."""
    for pause in await dead_letters.paused():
        group = pause["group"]
        yield problem(
            "consumers",
            f"{group} is paused since {pause['since']} at {pause['at']}: {pause['why']}",
            f"Look at `cadenza dlq list` and mend what fails; `cadenza dlq resume {group}` lets it go on at once.",
        )


async def _objects(at: Targets, *, required: bool) -> AsyncIterator[Finding]:
    """Write, read and delete one object."""
    uri = at.objects.uri
    place = urlsplit(uri)
    folder = Path(unquote(place.path)) if place.scheme == "file" else None
    if folder is not None and not folder.exists() and not required:
        yield note("objects", f"{folder} will be made by the first start")
        return
    mongo = Mongo(at.mongo)
    try:
        store = build_store(at.objects, at.aws, mongo.database)
        key = f"cadenza-doctor/{new_id()}"
        await store.put(key, b"x")
        await store.get(key)
        await store.delete(key)
    except (CadenzaError, OSError) as error:
        text = error.message if isinstance(error, CadenzaError) else str(error)
        fix = _objects_fix(error, folder=folder is not None)
        yield trouble("objects", f"{uri}: {text}", fix, required=required)
    else:
        yield ok("objects", f"{uri} can be written and read")
        if folder is not None:
            yield _room(folder)
    finally:
        await mongo.stop()


def _objects_fix(error: Exception, *, folder: bool) -> str:
    text = str(error)
    if isinstance(error, ConfigurationError):
        return "Mend OBJECTS__URI."
    if "NoSuchBucket" in text:
        return "Make the bucket, or mend OBJECTS__URI."
    if isinstance(error, Forbidden):
        return "Allow these credentials to put, get and delete objects in the bucket (AWS__ACCESS_KEY_ID, or the role)."
    if "No space left" in text or "Disk quota" in text:
        return "Make room on the disk below the folder."
    if folder:
        return "Let the services' user write below the folder, or mend OBJECTS__URI."
    return "See that the store is up and AWS__ENDPOINT_URL and OBJECTS__URI name it."


def _room(folder: Path) -> Finding:
    usage = shutil.disk_usage(folder)
    used = 1 - usage.free / usage.total
    text = f"{usage.free // 2**20} MB free below {folder} ({used:.0%} used)"
    if used < NEARLY_FULL:
        return ok("objects", text)
    fix = "Make room, or shorten the retention of artifacts, before the disk is full."
    return problem("objects", f"the disk is nearly full: {text}", fix)
