"""Options that say how a run is let in: its turn, its key, how long it may wait. For all commands that start runs."""

from typing import Annotated

import typer

from cli.client import Json
from cli.exits import Usage

Priority = Annotated[int, typer.Option(help="Higher runs first.", min=-100, max=100)]
IdempotencyKey = Annotated[
    str | None, typer.Option(help="The same key and plan start one run only.")
]
QueueTimeout = Annotated[
    float | None,
    typer.Option(help="Seconds within which it must have started; else it ends timed_out."),
]
ConcurrencyKey = Annotated[
    str | None, typer.Option(help="Key under which few runs are at work, in place of the plan's.")
]
ConcurrencyLimit = Annotated[int | None, typer.Option(help="How many; else 1.", min=1, max=1000)]
OnConflict = Annotated[
    str | None, typer.Option(help="While the key is busy: queue, replace or refuse.")
]
Metadata = Annotated[
    list[str] | None, typer.Option("--metadata", "-m", help="name=value to keep with the run.")
]


def admission(
    queue_timeout: float | None,
    key: str | None,
    limit: int | None,
    on_conflict: str | None,
) -> Json:
    """The fields of a request; only those that were named."""
    if key is None and (limit is not None or on_conflict is not None):
        raise Usage("--concurrency-limit and --on-conflict go with a --concurrency-key.")
    concurrency = {"key": key, "limit": limit, "on_conflict": on_conflict}
    given = {name: value for name, value in concurrency.items() if value is not None}
    body: Json = {"concurrency": given} if given else {}
    return body if queue_timeout is None else body | {"queue_timeout_seconds": queue_timeout}
