"""How far a consumer group has come, seen from outside the group."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError

from shared.kafka.connection import connection_options, start_driver, translated
from shared.settings import KafkaSettings


class GroupOffsets:
    """Asks the broker; connects for each question, since questions are rare."""

    def __init__(self, settings: KafkaSettings, *, timeout_seconds: float = 5.0) -> None:
        self._settings = settings
        self._timeout = timeout_seconds

    async def committed(self, group: str, topic: str) -> Mapping[int, int]:
        """Partition → first offset that the group has not handled; partitions without a commit are left out.

        Raises BrokerUnavailable.
        """
        admin = AIOKafkaAdminClient(**connection_options(self._settings))
        try:
            with translated():
                async with asyncio.timeout(self._timeout):
                    await start_driver(admin)
                    found = await _offsets(admin, group)
        finally:
            with contextlib.suppress(KafkaError, OSError):
                await admin.close()
        return {
            partition.partition: place.offset
            for partition, place in found.items()
            if partition.topic == topic and place.offset >= 0
        }


async def _offsets(admin: AIOKafkaAdminClient, group: str) -> dict[Any, Any]:
    """A fresh cluster makes its offsets topic when it is first asked for a coordinator."""
    while True:
        try:
            return dict(await admin.list_consumer_group_offsets(group))
        except GroupCoordinatorNotAvailableError:
            await asyncio.sleep(0.1)
