"""`cadenza migrate`: topics, collections and indexes, before a service starts; history of another system after that."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import typer
from pydantic_settings import BaseSettings, SettingsConfigDict

from cli.exits import FAILED, PASSED
from cli.history_sources import Source, source_of
from cli.options import AsJson
from cli.output import console, errors, moment, print_json, table
from cli.targets import run_quietly, targets
from shared.settings import KafkaSettings, MongoSettings, load

app = typer.Typer(invoke_without_command=True, no_args_is_help=False)
dual_write = typer.Typer(help="Mirror a second writer during a transition.", no_args_is_help=True)
app.add_typer(dual_write, name="dual-write")

Tenant = Annotated[str, typer.Option(help="Whose history it is.", show_default=False)]
SourceName = Annotated[
    str, typer.Argument(help="A file of JSON lines, or mongodb://host/NAME.", show_default=False)
]
Collection = Annotated[
    str | None, typer.Option(help="Of a file whose lines are plain documents of one collection.")
]
Batch = Annotated[int, typer.Option(help="Records that are stored together.", min=1, max=10_000)]


class _Targets(BaseSettings):
    """The same variables as the services'."""

    model_config = SettingsConfigDict(env_nested_delimiter="__", extra="ignore", frozen=True)

    kafka: KafkaSettings = KafkaSettings()
    mongo: MongoSettings = MongoSettings()


@app.callback()
def migrate(
    context: typer.Context,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; leave with 1 when something differs.")
    ] = False,
    as_json: AsJson = False,
) -> int | None:
    """Apply topics and indexes to KAFKA__BOOTSTRAP_SERVERS and MONGO__URI; run it as often as you like."""
    if context.invoked_subcommand is not None:
        return None
    from sandbox import migration

    given = load(_Targets)
    if check:
        found = asyncio.run(migration.drift(given.mongo))
        _tell("differs", found, as_json=as_json, intended=migration.INTENDED)
        return FAILED if found else PASSED
    done = asyncio.run(migration.apply_topics(given.kafka))
    done += asyncio.run(migration.apply_collections(given.mongo))
    _tell("done", done, as_json=as_json)
    return PASSED


@app.command("import")
def import_(
    source: SourceName,
    tenant: Tenant,
    collection: Collection = None,
    batch: Batch = 1000,
    as_json: AsJson = False,
) -> int:
    """Bring in what another system has recorded, then read it back: leaves with 1 when something is not here.

    Stopped in between it goes on where it was when it is started again.
    """
    found = source_of(source, collection)

    async def work(history: Any, _archive: Any) -> tuple[Any, Any]:
        stored = await history.bring_in(found.records(), source=f"{tenant}/{found.label}")
        return stored, await history.verify(found.records())

    stored, verified = run_quietly(_with_history(tenant, batch, work))
    if stored.resumed_at and not as_json:
        console.print(f"went on after record {stored.resumed_at}")
    return _report(verified, as_json=as_json)


@dual_write.command()
def on(
    source: SourceName,
    tenant: Tenant,
    collection: Collection = None,
    batch: Batch = 1000,
    every: Annotated[float, typer.Option(help="Seconds between two readings.", min=0.1)] = 5,
    once: Annotated[bool, typer.Option("--once", help="Read it once and leave.")] = False,
) -> int:
    """Bring over what the second writer writes, again and again until Ctrl-C."""
    found = source_of(source, collection)

    async def work(history: Any, archive: Any) -> None:
        from shared.clock import SystemClock

        clock = SystemClock()
        await archive.mirror(tenant, source=found.label, on=True, at=clock.now())
        while True:
            report = await history.bring_in(found.records())
            console.print(f"{moment(clock.now().isoformat())} {_counts(report.read)}")
            for told in report.refused:
                errors.print(told, markup=False)
            if once:
                return
            await asyncio.sleep(every)

    with contextlib.suppress(KeyboardInterrupt):
        run_quietly(_with_history(tenant, batch, work))
    return PASSED


@dual_write.command()
def status(
    source: SourceName, tenant: Tenant, collection: Collection = None, as_json: AsJson = False
) -> int:
    """How this platform and the second writer differ; leaves with 1 when they do."""
    state, verified = _compared(source_of(source, collection), tenant)
    if not as_json:
        told = "was never on" if state is None else ("on" if state["on"] else "off")
        since = f" since {moment(state['since'].isoformat())}" if state else ""
        console.print(f"dual-write is {told}{since}")
    return _report(verified, as_json=as_json)


@dual_write.command()
def off(
    source: SourceName, tenant: Tenant, collection: Collection = None, as_json: AsJson = False
) -> int:
    """Switch over: refused, with the list, while counts or hashes differ."""
    found = source_of(source, collection)
    _, verified = _compared(found, tenant, switch=True)
    if not verified.whole and not as_json:
        errors.print("not switched over: the two differ")
    return _report(verified, as_json=as_json)


def _compared(source: Source, tenant: str, *, switch: bool = False) -> tuple[Any, Any]:
    async def work(history: Any, archive: Any) -> tuple[Any, Any]:
        from shared.clock import SystemClock

        verified = await history.verify_all(source.records())
        if switch and verified.whole:
            now = SystemClock().now()
            await archive.mirror(tenant, source=source.label, on=False, at=now)
        return await archive.mirrored(tenant), verified

    compared: tuple[Any, Any] = run_quietly(_with_history(tenant, 1000, work))
    return compared


async def _with_history(tenant: str, batch: int, work: Callable[[Any, Any], Awaitable[Any]]) -> Any:
    from services.executor.history import History
    from services.executor.repository.history import MongoArchive
    from shared.mongo.client import Mongo

    mongo = Mongo(targets().mongo)
    try:
        await mongo.start()
        archive = MongoArchive(mongo.database)
        return await work(History(archive, tenant=tenant, batch=batch), archive)
    finally:
        await mongo.stop()


def _report(report: Any, *, as_json: bool) -> int:
    if as_json:
        print_json(
            {
                "whole": report.whole,
                "read": report.read,
                "same": report.same,
                "not_ended": report.not_ended,
                "refused": report.refused,
                "differing": report.differing,
            }
        )
        return PASSED if report.whole else FAILED
    rows = (
        (name, report.read[name], report.same[name], report.not_ended[name])
        for name in sorted(report.read)
    )
    console.print(table(None, ("collection", "in the source", "the same here", "not ended"), rows))
    for told in (*report.refused, *report.differing):
        errors.print(told, markup=False)
    more = report.refused_count + report.differing_count
    if more > len(report.refused) + len(report.differing):
        errors.print(f"… {more} in all")
    return PASSED if report.whole else FAILED


def _counts(read: Any) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(read.items())) or "nothing yet"


def _tell(word: str, lines: list[str], *, as_json: bool, intended: list[str] | None = None) -> None:
    if as_json:
        print_json({word: lines} | ({} if intended is None else {"intended": intended}))
        return
    for line in lines:
        console.print(line)
    if not lines:
        console.print("everything is as declared")
    for line in intended or ():
        console.print(f"intended: {line}", style="dim")
