"""What a platform has left behind: documents, messages, slots. Read once, after everything has ended."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from pymongo.database import Database

from shared.views.cases import CASES
from shared.views.executions import ARTIFACTS, EXECUTIONS, FINAL, LOGS, STEPS

Document = Mapping[str, Any]
Rows = Mapping[str, Sequence[Document]]
AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class Evidence:
    """Of some executions, each list by execution id."""

    executions: Mapping[str, Document]
    steps: Rows
    logs: Rows
    artifacts: Rows
    cases: Rows
    events: Rows
    """`execution-events` in the order of their partition, repeats included."""
    completions: Rows
    """`execution-complete` of our own runs."""
    held_slots: Sequence[Document]
    unpublished: Sequence[str]
    """Accepted requests that are not on Kafka."""


def unfinished(database: Database[Any], ids: Collection[str]) -> list[str]:
    """What keeps these executions from being over, one line each; empty when all has come to rest."""
    wanted = {"$in": list(ids)}
    final = database[EXECUTIONS].count_documents({"_id": wanted, "status": {"$in": list(FINAL)}})
    pending = {"events.0": {"$exists": True}}
    outbox = database[EXECUTIONS].count_documents({"_id": wanted, **pending})
    outbox += database[STEPS].count_documents({"execution_id": wanted, **pending})
    asked = database["accepted_events"].count_documents({"pending": True})
    left = {
        "executions are not over": len(ids) - final,
        "documents hold events that are not published": outbox,
        "accepted requests are not published": asked,
    }
    return [f"{count} {what}" for what, count in left.items() if count]


def gather(database: Database[Any], bootstrap_servers: str, ids: Collection[str]) -> Evidence:
    """Everything about these executions."""
    wanted = {"$in": list(ids)}
    of_run = {"execution_id": wanted}
    told, completed = asyncio.run(
        _topics(bootstrap_servers, ("execution-events", "execution-complete"))
    )
    known = set(ids)
    return Evidence(
        executions={row["_id"]: row for row in database[EXECUTIONS].find({"_id": wanted})},
        steps=_grouped(database[STEPS].find(of_run).sort("step_id", 1)),
        logs=_grouped(database[LOGS].find(of_run).sort("chunk", 1)),
        artifacts=_grouped(database[ARTIFACTS].find(of_run)),
        cases=_grouped(database[CASES].find(of_run)),
        events=_grouped(row for row in told if row["execution_id"] in known),
        completions=_grouped(row for row in completed if row["execution_id"] in known),
        held_slots=list(database["slots"].find({"holders.0": {"$exists": True}})),
        unpublished=[row["_id"] for row in database["accepted_events"].find({"pending": True})],
    )


def _grouped(rows: Any) -> Rows:
    found: dict[str, list[Document]] = defaultdict(list)
    for row in rows:
        found[row["execution_id"]].append(row)
    return found


async def _topics(bootstrap_servers: str, topics: Sequence[str]) -> list[list[Document]]:
    return [await read_topic(bootstrap_servers, topic) for topic in topics]


async def read_topic(bootstrap_servers: str, topic: str) -> list[Document]:
    """Every message that is on the topic now."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, enable_auto_commit=False)
    await consumer.start()
    try:
        numbers = await consumer._client.fetch_all_metadata()  # noqa: SLF001 - no public call for a topic not subscribed
        partitions = [
            TopicPartition(topic, n) for n in sorted(numbers.partitions_for_topic(topic) or ())
        ]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        rows: list[Document] = []
        while any([await consumer.position(part) < end for part, end in ends.items()]):
            batches = await consumer.getmany(timeout_ms=500, max_records=AT_ONCE)
            for messages in batches.values():
                rows += [row for one in messages if (row := _parsed(one.value)) is not None]
        return rows
    finally:
        await consumer.stop()


def _parsed(value: bytes | None) -> Document | None:
    try:
        row = json.loads(value or b"null")
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
