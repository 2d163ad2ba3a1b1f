"""Dead letters of what the gateway has published. Read when the reconciler asks, without a consumer group."""

from collections.abc import Collection
from datetime import datetime, timedelta

from services.gateway.models import Buried
from shared.kafka.dead_letters import DeadLetterReader, Wanted
from shared.settings import KafkaSettings

CONFLICT = "id_conflict"
"""Another message took this one's id: there is an execution, so the request was not refused."""
SKEW = timedelta(minutes=5)
"""The broker's clock may be behind ours."""


class KafkaDeadLetters:
    """Implements `services.gateway.ports.DeadLetters`."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._reader = DeadLetterReader(settings)

    async def of_keys(self, topic: str, keys: Collection[str], *, since: datetime) -> list[Buried]:
        wanted = Wanted(topics=[topic], since=since - SKEW)
        found = []
        async for letter in self._reader.letters(wanted):
            key = (letter.record.key or b"").decode(errors="replace")
            if key in keys and letter.reason != CONFLICT:
                why = ": ".join(part for part in (letter.reason, letter.detail) if part)
                found.append(Buried(key, letter.record.value or b"", why))
        return found
