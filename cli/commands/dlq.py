"""`cadenza dlq`: what could not be handled, why, and sending it again. Speaks to Kafka and MongoDB themselves."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

import typer

from cli.exits import FAILED, PASSED, CliError, Unreachable, Usage
from cli.options import AsJson
from cli.output import console, moment, print_json, table
from cli.targets import Targets, targets
from shared.clock import now
from shared.errors import BrokerUnavailable, CadenzaError, NotFound, StorageUnavailable
from shared.kafka.letters import Letter, letter, letters
from shared.observability.logging import configure
from shared.security.redaction import Redactor
from shared.settings import TelemetrySettings

T = TypeVar("T")
app = typer.Typer(
    help="Dead letters: messages that could not be handled. Needs KAFKA__… and MONGO__… as the services do.",
    no_args_is_help=True,
)

Topic = Annotated[str | None, typer.Option("--topic", "-t", help="Only what came from this topic.")]
Reason = Annotated[str | None, typer.Option("--reason", "-r", help="Only with this reason.")]
Since = Annotated[
    str | None, typer.Option(help="Only from then on: 30m, 12h, 7d, or a time in ISO 8601.")
]
Ids = Annotated[
    list[str] | None, typer.Argument(help="Ids as `list` prints them.", show_default=False)
]


@app.command("list")
def list_(
    topic: Topic = None,
    reason: Reason = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 50,
    as_json: AsJson = False,
) -> int:
    """Dead letters, and the consumers that wait because too many messages failed."""
    found, paused = _run(_listed(targets(), topic, reason, _moment(since), limit))
    if as_json:
        print_json({"items": [_short(one) for one in found], "paused": paused})
        return PASSED
    rows = (
        (o.id, o.reason, o.header("attempts"), moment(o.at.isoformat()), o.header("detail"))
        for o in found
    )
    if found:
        console.print(table(None, ("id", "reason", "attempts", "since", "detail"), rows))
    else:
        console.print("no dead letters")
    for group in paused:
        console.print(
            f"[yellow]{group['group']} is paused since {moment(group['since'])}[/]: {group['about']}; "
            f"mend it, or `cadenza dlq resume {group['group']}`"
        )
    return PASSED


@app.command()
def show(
    id: Annotated[str, typer.Argument(help="Id as `list` prints it.", show_default=False)],
    as_json: AsJson = False,
) -> int:
    """One dead letter with its headers and content; what looks like a secret is masked."""
    found = _run(letter(targets().kafka, id))
    detail = _short(found) | {
        "key": (found.record.key or b"").decode(errors="replace"),
        "headers": {n: v.decode(errors="replace") for n, v in found.record.headers.items()},
        "value": _content(found),
    }
    if as_json:
        print_json(detail)
    else:
        console.print_json(json.dumps(detail))
    return PASSED


@app.command()
def redrive(
    ids: Ids = None,
    topic: Topic = None,
    reason: Reason = None,
    since: Since = None,
    everything: Annotated[bool, typer.Option("--all", help="Every dead letter there is.")] = False,
    again: Annotated[
        bool, typer.Option(help="Also those that have been sent again before.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be sent.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Send dead letters back to the topic they came from, each once."""
    if not (ids or topic or reason or since or everything):
        raise Usage("Say which: ids, --topic, --reason, --since, or --all.")
    if ids and (topic or reason or since or everything):
        raise Usage("Either ids, or a choice of them.")
    sent, skipped = _run(
        _redriven(targets(), ids or [], topic, reason, _moment(since), again=again, dry_run=dry_run)
    )
    if as_json:
        print_json({"redriven": sent, "skipped": skipped, "dry_run": dry_run})
        return PASSED
    word = "would be sent" if dry_run else "sent"
    for id_ in sent:
        console.print(f"{word}: {id_}")
    console.print(f"{len(sent)} {word} again, {len(skipped)} left out (sent before; --again)")
    return PASSED


@app.command()
def resume(
    group: Annotated[
        str | None, typer.Argument(help="Consumer group; all that wait without it.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Let paused consumers go on: the message at hand, and as many as the limit allows, may become dead letters."""
    resumed = _run(_resumed(targets(), group))
    if as_json:
        print_json({"resumed": resumed})
    elif resumed:
        console.print("\n".join(f"{name} goes on within seconds" for name in resumed))
    else:
        console.print(f"'{group}' has no failures" if group else "no consumer is paused")
    return PASSED if resumed or group is None else FAILED


async def _listed(
    to: Targets, topic: str | None, reason: str | None, since: datetime | None, limit: int
) -> tuple[list[Letter], list[dict[str, Any]]]:
    from shared.mongo.failure_window import paused_groups

    found = []
    async for one in _chosen(to, topic, reason, since):
        found.append(one)
        if len(found) == limit:
            break
    async with to.database() as database:
        paused = [
            {
                "group": group["_id"],
                "since": group["paused"]["since"].isoformat(),
                "about": group["paused"]["about"],
            }
            for group in await paused_groups(database)
        ]
    return found, paused


async def _redriven(
    to: Targets,
    ids: list[str],
    topic: str | None,
    reason: str | None,
    since: datetime | None,
    *,
    again: bool,
    dry_run: bool,
) -> tuple[list[str], list[str]]:
    from shared.kafka.publishing import KafkaEventPublisher
    from shared.mongo.redriven import Redriven

    chosen = [await letter(to.kafka, id_) for id_ in ids] or [
        one async for one in _chosen(to, topic, reason, since)
    ]
    sent, skipped = [], []
    publisher = KafkaEventPublisher(to.kafka)
    await publisher.start()
    try:
        async with to.database() as database:
            notes = Redriven(database)
            known = set() if again else await notes.among([one.id for one in chosen])
            for one in chosen:
                if one.id in known:
                    skipped.append(one.id)
                    continue
                if not dry_run:
                    record = one.record
                    await publisher.send_raw(
                        one.topic, record.key, record.value or b"", one.original_headers()
                    )
                    await notes.add(one.id)
                sent.append(one.id)
    finally:
        await publisher.stop()
    return sent, skipped


async def _resumed(to: Targets, group: str | None) -> list[str]:
    from shared.mongo.failure_window import resume

    async with to.database() as database:
        return await resume(database, group)


async def _chosen(
    to: Targets, topic: str | None, reason: str | None, since: datetime | None
) -> AsyncIterator[Letter]:
    async for one in letters(to.kafka, topic=topic, since=since):
        if reason is None or one.reason == reason:
            yield one


def _run(work: Coroutine[Any, Any, T]) -> T:
    configure(TelemetrySettings(log_level="ERROR"), "cli")
    try:
        return asyncio.run(work)
    except (BrokerUnavailable, StorageUnavailable) as error:
        raise Unreachable(error.message) from error
    except NotFound as error:
        raise CliError(error.message) from error
    except CadenzaError as error:
        raise Usage(error.message) from error


def _short(one: Letter) -> dict[str, Any]:
    return {
        "id": one.id,
        "topic": one.topic,
        "reason": one.reason,
        "detail": one.header("detail"),
        "attempts": int(one.header("attempts") or 0),
        "at": one.at.isoformat(),
        "event_id": one.record.header("ce_id"),
        "type": one.record.header("ce_type"),
    }


def _content(one: Letter) -> Any:
    """As JSON where it is JSON."""
    redactor = Redactor(())
    text = (one.record.value or b"").decode(errors="replace")
    try:
        return redactor.redact_json(json.loads(text))
    except ValueError:
        return redactor.redact(text)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    units = {"m": "minutes", "h": "hours", "d": "days"}
    try:
        if text[-1:] in units:
            return now() - timedelta(**{units[text[-1]]: float(text[:-1])})
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Usage(f"'{text}' is no time: 30m, 12h, 7d, or ISO 8601.") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
