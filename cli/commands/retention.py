"""`cadenza retention`: what is too old, and its removal by hand."""

from typing import Annotated, Any

import typer

from cli.exits import PASSED, Usage
from cli.options import ApiKey, AsJson, Url, gateway
from cli.output import console, moment, print_json, size, table
from cli.targets import run_quietly, targets


def retention(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would go; remove nothing.")
    ] = False,
    now: Annotated[bool, typer.Option("--now", help="Remove it now.")] = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="Ask the gateway what of your tenant goes next.")
    ] = False,
    within_days: Annotated[
        int, typer.Option(min=0, max=3650, help="With --preview: within so many days from now.")
    ] = 0,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Executors remove what is too old by themselves (EXECUTOR__KEEP_…_DAYS); see what goes next, or have it gone.
    --dry-run and --now work on the database, over all tenants.
    """
    if [dry_run, now, preview].count(True) != 1:
        raise Usage("say one of --preview, --dry-run, --now.")
    if preview:
        with gateway(url, api_key) as client:
            return _show(
                client.get("/v1/retention/preview", within_days=within_days), as_json=as_json
            )
    found = run_quietly(_sweep(remove=now))
    if as_json:
        print_json({"items": found})
        return PASSED
    told = "removed" if now else "would go"
    rows = (
        (
            one["kind"],
            one["before"],
            one["runs"],
            one["objects"],
            " ".join(one["examples"][:2]) + (" …" if one["runs"] > 2 else ""),
        )
        for one in found
    )
    console.print(table(None, (told, "accepted before", "runs", "objects", "such as"), rows))
    return PASSED


def _show(found: dict[str, Any], *, as_json: bool) -> int:
    if as_json:
        print_json(found)
        return PASSED
    rows = (
        (
            one["kind"],
            moment(one["before"]),
            f"{one['runs']}{'' if one['complete'] else '+'}",
            " ".join(f"{part['documents']} {part['collection']}" for part in one["collections"]),
            size(one["object_bytes"] + sum(part["bytes"] for part in one["collections"])),
            " ".join(one["examples"][:2]) + (" …" if one["runs"] > 2 else ""),
        )
        for one in found["items"]
    )
    columns = ("goes", "accepted before", "runs", "documents", "bytes", "such as")
    console.print(table(None, columns, rows))
    return PASSED


async def _sweep(*, remove: bool) -> list[dict[str, Any]]:
    from services.executor.repository.ageing import MongoRecords
    from services.executor.retention import Ages, Retention
    from services.executor.settings import ExecutorSettings
    from shared.clock import SystemClock
    from shared.mongo.client import Mongo
    from shared.objects.factory import build_store
    from shared.settings import load

    places, group = targets(), load(ExecutorSettings).executor
    mongo = Mongo(places.mongo)
    try:
        await mongo.start()
        objects = build_store(places.objects, places.aws, mongo.database)
        sweeper = Retention(
            MongoRecords(mongo.database),
            objects,
            Ages.of(group),
            clock=SystemClock(),
            interval=3600,
        )
        doomed = await sweeper.preview()
        if remove:
            await sweeper.sweep()
    finally:
        await mongo.stop()
    return [
        {
            "kind": one.kind,
            "before": one.before.isoformat(timespec="minutes"),
            "runs": one.runs,
            "objects": one.objects,
            "examples": list(one.examples),
        }
        for one in doomed
    ]
