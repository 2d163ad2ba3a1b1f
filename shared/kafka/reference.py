"""The contract for those who share no code with us: a JSON Schema per event, an AsyncAPI 3 document of all topics.

`python -m shared.kafka.reference` writes them to `docs/reference/`; with `--check` it writes nothing and exits 1 when
they are stale. Everything comes from `shared/events/catalogue.py` and the table of topics.
"""

import argparse
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from shared.events.base import Event
from shared.events.catalogue import EVENTS
from shared.kafka.topics import BY_NAME, DAY_MS, PUBLIC, dead_letter_topic

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path("docs/reference")
CONTRACT_VERSION = "1.0.0"
SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"

CLOUDEVENTS: dict[str, str] = {
    "ce_specversion": "CloudEvents version, `1.0`",
    "ce_id": "The event's id, the same on every redelivery",
    "ce_type": "What happened",
    "ce_source": "The service that published it",
    "ce_time": "When it happened, ISO 8601 in UTC",
    "ce_subject": "What it is about",
    "ce_tenant": "Whose it is",
    "content-type": "`application/json`",
    "traceparent": "W3C trace context",
}
DEAD_LETTER: dict[str, str] = {
    "dlq-reason": "`invalid_message`, `handler_failed`, `id_conflict` or another stable word",
    "dlq-detail": "What went wrong",
    "dlq-origin-topic": "Where it was read",
    "dlq-origin-partition": "Where it was read",
    "dlq-origin-offset": "Where it was read",
    "dlq-attempts": "How often it was tried",
    "dlq-at": "When it was put here, ISO 8601 in UTC",
}


def schema(event: type[Event]) -> dict[str, Any]:
    """The JSON Schema of an event's value. Consumers must bear fields that it does not name."""
    return {
        "$schema": SCHEMA_DIALECT,
        "$id": f"urn:cadenza:event:{event.topic}",
        **event.model_json_schema(mode="serialization"),
    }


def asyncapi() -> dict[str, Any]:
    """Every topic as a channel; what is sent there, and by whom."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Cadenza events",
            "version": CONTRACT_VERSION,
            "description": (
                "Delivery is at least once: the same `ce_id` may come again. Events with one key keep their order. "
                "Changes are additive: consumers ignore fields that they do not know."
            ),
        },
        "defaultContentType": "application/json",
        "channels": dict(_channels()),
        "operations": {
            f"publish-{event.topic}": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{event.topic}"},
                "summary": f"Published by {' and '.join([event.producer, *event.also_from])}.",
            }
            for event in EVENTS
        },
        "components": {
            "messages": {event.__name__: _message(event) for event in EVENTS}
            | {"DeadLetter": _dead_letter()}
        },
    }


def _channels() -> Iterator[tuple[str, dict[str, Any]]]:
    for event in EVENTS:
        yield event.topic, _channel(event.topic, event.__name__)
        letters = dead_letter_topic(event.topic)
        yield letters, _channel(letters, "DeadLetter")


def _channel(name: str, message: str) -> dict[str, Any]:
    topic = BY_NAME[name]
    channel: dict[str, Any] = {
        "address": name,
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        "bindings": {
            "kafka": {
                "topic": name,
                "topicConfiguration": {
                    "cleanup.policy": [topic.cleanup],
                    "retention.ms": topic.retention_ms,
                },
                "bindingVersion": "0.5.0",
            }
        },
        "description": f"Kept for {topic.retention_ms // DAY_MS} days.",
    }
    if name in PUBLIC:
        channel["tags"] = [{"name": "public", "description": "Never changes its name."}]
    return channel


def _message(event: type[Event]) -> dict[str, Any]:
    return {
        "name": event.__name__,
        "summary": (inspect.getdoc(event) or "").splitlines()[0],
        "contentType": "application/json",
        "headers": _headers(CLOUDEVENTS, optional="traceparent"),
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"./events/{event.topic}.json"},
        },
    }


def _dead_letter() -> dict[str, Any]:
    return {
        "name": "DeadLetter",
        "summary": "A message that could not be handled: its key, value and headers as they were, and these headers.",
        "headers": _headers(DEAD_LETTER),
        "payload": {},
    }


def _headers(described: dict[str, str], *, optional: str = "") -> dict[str, Any]:
    return {
        "type": "object",
        "required": [name for name in described if name != optional],
        "properties": {
            name: {"type": "string", "description": text} for name, text in described.items()
        },
    }


def files() -> dict[Path, str]:
    """Path below the repository → what must stand there."""
    wanted = {
        FOLDER / "events" / f"{event.topic}.json": json.dumps(
            schema(event), indent=2, ensure_ascii=False
        )
        + "\n"
        for event in EVENTS
    }
    wanted[FOLDER / "asyncapi.yaml"] = yaml.safe_dump(
        asyncapi(), sort_keys=False, allow_unicode=True, width=120
    )
    return wanted


def stale(root: Path = ROOT) -> list[str]:
    """Files that are missing, differ, or belong to no event any more."""
    wanted = files()
    wrong = [path for path, text in wanted.items() if _text(root / path) != text]
    present = {path.relative_to(root) for path in (root / FOLDER / "events").glob("*.json")}
    return sorted(str(path) for path in {*wrong, *(present - wanted.keys())})


def write(root: Path = ROOT) -> list[str]:
    """Write what is stale, remove what belongs to no event; returns the paths."""
    wanted, changed = files(), stale(root)
    for name in changed:
        path = root / name
        if Path(name) in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[Path(name)], encoding="utf-8")
        else:
            path.unlink()
    return changed


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Write the reference of events and topics.")
    parser.add_argument(
        "--check", action="store_true", help="only say what is stale; exit 1 if any"
    )
    options = parser.parse_args(arguments)
    changed = stale() if options.check else write()
    for name in changed:
        sys.stdout.write(f"{'stale' if options.check else 'wrote'} {name}\n")
    return 1 if options.check and changed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
