"""Kafka and MongoDB themselves, by the services' own settings, for commands of those who operate the platform."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.mongo.client import Database, Mongo
from shared.settings import KafkaSettings, MongoSettings, load


class Targets(BaseSettings):
    """The same variables as the services'."""

    model_config = SettingsConfigDict(env_nested_delimiter="__", extra="ignore", frozen=True)

    kafka: KafkaSettings = KafkaSettings()
    mongo: MongoSettings = MongoSettings()

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        mongo = Mongo(self.mongo)
        try:
            yield mongo.database
        finally:
            await mongo.stop()


def targets() -> Targets:
    """Raises ConfigurationError."""
    return load(Targets)
