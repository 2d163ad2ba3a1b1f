"""How every client of this folder reaches the brokers: one place for addresses, TLS and SASL.

`translated` turns the driver's errors into ours at the border, so that callers see `BrokerUnavailable`.
"""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
)

from shared.errors import BrokerUnavailable, ConfigurationError, TooLarge
from shared.settings import KafkaSettings
from shared.tasks import end_tasks

CLOSE_SECONDS = 5.0
HALFWAY_SECONDS = 1.0
METADATA_MAX_AGE_MS = 5_000
"""Topics and partitions created late are seen after this long; the driver's own default is five minutes."""


def connection_options(settings: KafkaSettings) -> dict[str, Any]:
    """Keyword arguments that producers, consumers and the admin client share."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "security_protocol": settings.security_protocol,
        "metadata_max_age_ms": METADATA_MAX_AGE_MS,
    }
    if settings.security_protocol.endswith("SSL"):
        options["ssl_context"] = ssl.create_default_context(cafile=settings.ca_file)
    if settings.security_protocol.startswith("SASL"):
        if settings.username is None or settings.password is None:
            raise ConfigurationError(
                f"KAFKA__SECURITY_PROTOCOL={settings.security_protocol} needs KAFKA__USERNAME and KAFKA__PASSWORD"
            )
        options["sasl_mechanism"] = settings.sasl_mechanism
        options["sasl_plain_username"] = settings.username
        options["sasl_plain_password"] = settings.password.get_secret_value()
    return options


def translate(error: BaseException) -> Exception:
    """Our error for one of the driver's; what is unknown to us counts as a broker that did not answer."""
    match error:
        case MessageSizeTooLargeError() | RecordListTooLargeError():
            return TooLarge("the event is larger than the topic allows")
        case SaslAuthenticationFailed():
            return ConfigurationError("Kafka refused KAFKA__USERNAME and KAFKA__PASSWORD")
        case TopicAuthorizationFailedError():
            return ConfigurationError(f"Kafka does not allow access to topics {error.args}")
        case KafkaError():
            return BrokerUnavailable(f"Kafka: {type(error).__name__}")
        case OSError():
            return BrokerUnavailable(f"Kafka cannot be reached: {error.strerror or error}")
        case _:
            return BrokerUnavailable(f"Kafka: {error!r}")


@contextmanager
def translated() -> Iterator[None]:
    """Raise our errors instead of the driver's."""
    try:
        yield
    except (KafkaError, OSError) as error:
        raise translate(error) from error


async def start_driver(driver: AIOKafkaConsumer | AIOKafkaAdminClient) -> None:
    """Connect. Who is cancelled meanwhile waits for up to `HALFWAY_SECONDS`: a driver that is cancelled halfway leaves
    its first connection open.
    """
    starting = asyncio.ensure_future(driver.start())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait([starting], timeout=HALFWAY_SECONDS)
        await end_tasks(starting)
        raise


async def close_consumer(consumer: AIOKafkaConsumer) -> None:
    """Leave the group and close. A driver that does not come to an end (its `stop` may swallow a cancellation) is left
    behind after `CLOSE_SECONDS`, because a caller that waited for it would never read again.
    """
    closing = asyncio.ensure_future(consumer.stop())
    done, _ = await asyncio.wait([closing], timeout=CLOSE_SECONDS)
    if not done:
        closing.cancel()
    elif not closing.cancelled():
        closing.exception()  # a broker that is away cannot be told; nothing is left to do
