"""`cadenza migrate`: topics, collections and indexes, before a service starts."""

import asyncio
from typing import Annotated

import typer
from pydantic_settings import BaseSettings, SettingsConfigDict

from cli.exits import FAILED, PASSED
from cli.options import AsJson
from cli.output import console, print_json
from shared.settings import KafkaSettings, MongoSettings, load


class _Targets(BaseSettings):
    """The same variables as the services'."""

    model_config = SettingsConfigDict(env_nested_delimiter="__", extra="ignore", frozen=True)

    kafka: KafkaSettings = KafkaSettings()
    mongo: MongoSettings = MongoSettings()


def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; leave with 1 when something differs.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Apply topics and indexes to KAFKA__BOOTSTRAP_SERVERS and MONGO__URI; run it as often as you like."""
    from sandbox import migration

    targets = load(_Targets)
    if check:
        found = asyncio.run(migration.drift(targets.mongo))
        _tell("differs", found, as_json=as_json)
        return FAILED if found else PASSED
    done = asyncio.run(migration.apply_topics(targets.kafka))
    done += asyncio.run(migration.apply_collections(targets.mongo))
    _tell("done", done, as_json=as_json)
    return PASSED


def _tell(word: str, lines: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json({word: lines})
        return
    for line in lines:
        console.print(line)
    if not lines:
        console.print("everything is as declared")
