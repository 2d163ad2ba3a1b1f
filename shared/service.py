"""The command line of every service: `python -m services.<name>` serves, `--check` builds everything and connects
nothing. Exit codes: 0 ended by a signal, 1 failed, 2 a setting is wrong.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from shared.errors import ConfigurationError
from shared.observability import logging, tracing
from shared.observability.exporting import MetricsExport, ProcessMetrics
from shared.ports import Resource
from shared.runtime import Health, explain, run, serve
from shared.security.secrets import secrets_of
from shared.settings import ServiceSettings, load

VERSION = "0.1.0"
"""Of the whole: in OpenAPI documents, in every run's metadata, in `cadenza --version`."""

S = TypeVar("S", bound=ServiceSettings)


@dataclass(frozen=True, slots=True)
class App:
    """A built service: parts in order of starting, what it knows of itself, its ASGI application."""

    resources: list[Resource]
    health: Health
    web: Any


@dataclass(frozen=True, slots=True)
class Card:
    """What a service says of itself when asked to check."""

    name: str
    title: str
    topics_in: Sequence[str]
    topics_out: Sequence[str]
    collections: Sequence[str]
    plug_ins: Mapping[str, Sequence[str]] = field(default_factory=dict)


def main(
    argv: Sequence[str],
    *,
    card: Card,
    settings_class: type[S],
    build: Callable[[S], App],
    uvloop: bool = False,
) -> int:
    """Load the settings, then check or serve; returns the exit code. Unknown arguments end it with 2 and the usage."""
    parser = argparse.ArgumentParser(
        prog=f"python -m services.{card.name}",
        description=f"{card.title}. Settings come from the environment; see .env.example.",
    )
    parser.add_argument(
        "--check", action="store_true", help="build everything, connect nothing, say what is used"
    )
    arguments = parser.parse_args(list(argv))
    try:
        settings = load(settings_class)
    except ConfigurationError as error:
        return explain(error)

    async def check() -> int:
        _print(card, build(settings))
        return 0

    async def work() -> int:
        app = build(settings)
        metrics: list[Resource] = [ProcessMetrics(), MetricsExport(settings.telemetry, card.name)]
        return await serve([*metrics, *app.resources], health=app.health, settings=settings.runtime)

    if arguments.check:
        return run(check)
    logging.configure(settings.telemetry, card.name, secrets=secrets_of(settings))
    provider = tracing.configure(settings.telemetry, card.name)
    try:
        return run(work, uvloop=uvloop)
    finally:
        provider.shutdown()


def _print(card: Card, app: App) -> None:
    rows = {
        card.title: [part.name for part in app.resources],
        "topics in": card.topics_in,
        "topics out": card.topics_out,
        "collections": card.collections,
        **card.plug_ins,
    }
    for name, values in rows.items():
        if not values:
            continue
        print(f"{name}: {', '.join(values)}")  # noqa: T201 - the answer to the person who asked
