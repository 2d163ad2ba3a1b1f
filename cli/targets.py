"""Where operations reach Kafka and the database: the services' own variables, else the sandbox on this machine."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from cli.exits import Unreachable
from sandbox.addresses import Addresses
from sandbox.settings import SandboxSettings
from shared.errors import BrokerUnavailable, StorageUnavailable
from shared.observability.logging import silent
from shared.settings import AwsSettings, KafkaSettings, MongoSettings, ObjectsSettings, load

T = TypeVar("T")


class Targets(BaseSettings):
    """The same variables as the services'."""

    model_config = SettingsConfigDict(env_nested_delimiter="__", extra="ignore", frozen=True)

    kafka: KafkaSettings = KafkaSettings()
    mongo: MongoSettings = MongoSettings()
    objects: ObjectsSettings = ObjectsSettings()
    aws: AwsSettings = AwsSettings()


def targets() -> Targets:
    """Raises ConfigurationError. What is not set is the sandbox's."""
    given, sandbox = load(Targets), load(SandboxSettings)
    addresses = Addresses.of(sandbox)
    kafka = given.kafka.model_copy(update={"bootstrap_servers": addresses.kafka})
    mongo = {"uri": SecretStr(addresses.mongo), "min_pool_size": 0}
    return Targets.model_construct(
        kafka=kafka,
        mongo=given.mongo.model_copy(update=mongo),
        objects=given.objects.model_copy(update={"uri": addresses.objects}),
        aws=given.aws
        if sandbox.aws
        else given.aws.model_copy(update={"endpoint_url": addresses.aws}),
    )


def run_quietly(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`; drivers log nothing meanwhile. Raises Unreachable."""
    with silent():
        try:
            return asyncio.run(work)
        except BrokerUnavailable as error:
            where = targets().kafka.bootstrap_servers
            raise Unreachable(
                f"Kafka cannot be used at {where} ({error.message}): start it, or set KAFKA__BOOTSTRAP_SERVERS."
            ) from error
        except StorageUnavailable as error:
            where = _without_password(targets().mongo.uri.get_secret_value())
            raise Unreachable(
                f"MongoDB cannot be used at {where} ({error.message}): start it, or set MONGO__URI."
            ) from error


def _without_password(uri: str) -> str:
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
