"""`cadenza dlq`: messages that could not be handled, and consumers that are paused because there are too many of them.

Reads KAFKA__* and MONGO__* like the services; without them, the sandbox.
"""

from collections import Counter
from typing import Annotated, Any

import typer

from cli import dead_letters
from cli.exits import FAILED, PASSED, Usage
from cli.moments import point_in_time
from cli.options import AsJson
from cli.output import console, errors, moment, print_json, short, table
from cli.targets import run_quietly
from shared.kafka.dead_letters import Redriven, Wanted

app = typer.Typer(help="Messages that could not be handled.", no_args_is_help=True)

Topics = Annotated[
    list[str] | None, typer.Option("--topic", "-t", help="Only letters of this topic.")
]
Reasons = Annotated[
    list[str] | None, typer.Option("--reason", "-r", help="Only letters with this reason.")
]
Since = Annotated[str | None, typer.Option(help="Only letters since: 30m, 2h, 7d ago, or a date.")]


@app.command("list")
def list_(
    topic: Topics = None,
    reason: Reasons = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)] = 50,
    redriven: Annotated[
        bool, typer.Option("--redriven", help="Also those that were sent once more.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Dead letters, newest first, and the consumers that are paused."""
    wanted = _wanted(topic, reason, since)
    found = run_quietly(dead_letters.newest(wanted, limit=limit, redriven=redriven))
    paused = run_quietly(dead_letters.paused())
    rows = [listed.row() for listed in found]
    if as_json:
        print_json({"items": rows, "paused": paused})
        return PASSED
    if not rows:
        console.print("no dead letters")
    else:
        columns = ("letter", "at", "reason", "tries", "redrives", "key", "detail")
        console.print(table(None, columns, (_cells(row) for row in rows)))
    for pause in paused:
        console.print(
            f"[red]{pause['group']}[/] is paused since {moment(pause['since'])} at {pause['at']}: {pause['why']}; "
            f"tried again {pause['probes']} times. To go on at once: cadenza dlq resume {pause['group']}",
            soft_wrap=True,
        )
    return PASSED


@app.command()
def show(
    letter: Annotated[str, typer.Argument(help="Such as run-requested.dlq/0/12.")],
    as_json: AsJson = False,
) -> int:
    """One dead letter: where it came from, why it is here, its headers and body (secrets masked)."""
    found = run_quietly(dead_letters.one(letter))
    if found is None:
        errors.print(f"There is no letter {letter}.", soft_wrap=True)
        return FAILED
    told = found.row() | {
        "headers": dead_letters.headers_of(found.letter),
        "body": dead_letters.body_of(found.letter),
    }
    if as_json:
        print_json(told)
        return PASSED
    body, headers = told.pop("body"), told.pop("headers")
    console.print(
        table(None, ("field", "value"), ((n, v) for n, v in told.items() if v not in ("", None)))
    )
    console.print(table("headers", ("name", "value"), headers.items()))
    if isinstance(body, str):
        console.print(body, markup=False, soft_wrap=True)
    else:
        console.print_json(data=body)
    return PASSED


@app.command()
def redrive(
    letters: Annotated[
        list[str] | None, typer.Argument(help="Letters, such as run-requested.dlq/0/12.")
    ] = None,
    topic: Topics = None,
    reason: Reasons = None,
    since: Since = None,
    everything: Annotated[bool, typer.Option("--all", help="Every letter that fits.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing, say what would be.")] = (
        False
    ),
    again: Annotated[
        bool, typer.Option("--again", help="Also what was sent once more already.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Send dead letters to their topics once more, each at most once; leave with 1 when one was not sent."""
    if letters and (topic or reason or since or everything):
        raise Usage("Name letters, or say which by --topic, --reason, --since, --all; not both.")
    if not (letters or topic or reason or since or everything):
        raise Usage("Which letters? Name some, or give --topic, --reason, --since or --all.")
    done, missing = run_quietly(
        dead_letters.send_again(
            letters or [], _wanted(topic, reason, since), again=again, dry_run=dry_run
        )
    )
    if as_json:
        print_json({"items": [_told(one) for one in done], "missing": missing, "dry_run": dry_run})
    else:
        _tell(done, missing, dry_run=dry_run)
    unsent = missing or any(one.outcome in ("refused", "busy") for one in done)
    return FAILED if unsent else PASSED


@app.command()
def resume(
    consumer: Annotated[
        str | None, typer.Argument(help="A consumer group, a service, or the topic it stands at.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every paused consumer.")] = False,
    as_json: AsJson = False,
) -> int:
    """Let paused consumers go on at once; their failures are forgotten, so the limit counts anew."""
    if (consumer is None) != everything:
        raise Usage("Name one consumer, or give --all.")
    resumed, known = run_quietly(dead_letters.resume(consumer))
    if as_json:
        print_json({"resumed": resumed})
    for group in [] if as_json else resumed:
        console.print(f"{group} goes on")
    if resumed or everything:
        if not (resumed or as_json):
            console.print("no consumer is paused")
        return PASSED
    errors.print(
        f"There is no consumer {consumer} that ever failed; known: {', '.join(known) or 'none'}.",
        soft_wrap=True,
    )
    return FAILED


def _wanted(topic: list[str] | None, reason: list[str] | None, since: str | None) -> Wanted:
    at = point_in_time(since, option="--since") if since is not None else None
    return Wanted(topics=topic or (), reasons=reason or (), since=at)


def _cells(row: dict[str, Any]) -> tuple[Any, ...]:
    mark = f" (sent {moment(row['redriven_at'])})" if row["redriven_at"] else ""
    return (
        row["id"] + mark,
        moment(row["at"]),
        row["reason"],
        row["attempts"],
        row["redrives"],
        short(row["key"], 40),
        short(row["detail"]),
    )


def _told(one: Redriven) -> dict[str, Any]:
    place = one.place and f"{one.letter.topic}/{one.place[0]}/{one.place[1]}"
    return {"id": one.letter.id, "outcome": one.outcome, "place": place, "error": one.error}


def _tell(done: list[Redriven], missing: list[str], *, dry_run: bool) -> None:
    for one in done:
        if one.outcome in ("refused", "busy"):
            why = one.error or "somebody else is sending it right now"
            errors.print(f"{one.letter.id}: {why}", soft_wrap=True, markup=False)
    for place in missing:
        errors.print(f"There is no letter {place}.", soft_wrap=True, markup=False)
    counts = Counter(one.outcome for one in done)
    verb = "would be sent" if dry_run else "sent"
    console.print(f"{counts['sent']} {verb}")
    if counts["already_sent"]:
        console.print(f"{counts['already_sent']} were sent before (--again sends them too)")
