"""The wire contract: what stands in `tests/data/events` was once sent, and must be read and written the same for ever.

A sample file holds messages of one topic (key, headers, value). A new field goes into a sample; a sample that is there is
never changed, since consumers outside of this repository were built on it.
"""

import json
import re
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
import yaml

from shared.events.base import Event
from shared.events.catalogue import BY_TOPIC, EVENTS
from shared.events.execution import EventType
from shared.kafka import reference
from shared.kafka.topics import BY_NAME, PUBLIC, TOPICS, dead_letter_topic

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "tests/data/events"
# One word everywhere; a stream of many small things is named in the plural, its event in the singular.
SINGULAR = {
    "execution-events": "ExecutionEvent",
    "scan-results": "ScanResult",
    "proxy-events": "ProxyEvent",
}


def samples(topic: str) -> list[dict]:
    return json.loads((SAMPLES / f"{topic}.json").read_text(encoding="utf-8"))


EVERY_SAMPLE = [
    pytest.param(event, sample, id=f"{event.topic}-{index}")
    for event in EVENTS
    for index, sample in enumerate(
        samples(event.topic) if (SAMPLES / f"{event.topic}.json").exists() else []
    )
]


def read(event: type[Event], sample: dict) -> Event:
    return event.model_validate_json(json.dumps(sample["value"]))


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.topic)
def test_class_topic_and_sample_have_one_name(event):
    words = "".join(word.capitalize() for word in event.topic.split("-"))
    assert event.__name__ == SINGULAR.get(event.topic, words)
    assert (SAMPLES / f"{event.topic}.json").is_file(), (
        f"tests/data/events/{event.topic}.json is missing"
    )
    assert event.__doc__, f"{event.__name__} says nothing of itself"


def test_there_is_no_sample_without_an_event():
    assert {path.stem for path in SAMPLES.glob("*.json")} == set(BY_TOPIC)


@pytest.mark.parametrize(("event", "sample"), EVERY_SAMPLE)
def test_a_sample_is_read_and_written_without_loss(event, sample):
    value = sample["value"]
    message = read(event, sample)
    written = json.loads(message.body())
    kept = {name: written.get(name) for name in value}
    assert kept == value, "a field that consumers know has changed or gone"
    assert message.key() == sample["key"]
    assert message.cloudevents_headers() == sample["headers"]
    assert event.model_validate_json(message.body()) == message


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.topic)
def test_a_full_sample_is_byte_stable(event):
    """With every field set, what is written are the very bytes of the sample."""
    fields = set(event.model_fields)
    shown = [set(sample["value"]) for sample in samples(event.topic)]
    missing = fields - set().union(*shown)
    assert not missing, f"no sample of {event.topic} shows {', '.join(sorted(missing))}"
    stable = 0
    for sample in samples(event.topic):
        compact = json.dumps(sample["value"], separators=(",", ":"), ensure_ascii=False).encode()
        stable += read(event, sample).body() == compact
    assert stable, f"no sample of {event.topic} is written as it stands there"


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.topic)
def test_no_field_became_required(event):
    """Consumers of old messages would fail: the smallest sample shows what has always been there."""
    required = {name for name, field in event.model_fields.items() if field.is_required()}
    for sample in samples(event.topic):
        assert required <= set(sample["value"])


@pytest.mark.parametrize(("event", "sample"), EVERY_SAMPLE)
def test_a_sample_obeys_its_published_schema(event, sample):
    path = ROOT / "docs/reference/events" / f"{event.topic}.json"
    schema = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.validate(sample["value"], schema, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.topic)
def test_unknown_fields_are_borne(event):
    sample = samples(event.topic)[0]
    newer = {**sample, "value": {**sample["value"], "field_of_a_newer_version": 1}}
    assert read(event, newer) == read(event, sample)


def test_every_type_of_execution_event_has_a_sample():
    shown = {sample["value"]["type"] for sample in samples("execution-events")}
    assert shown == set(get_args(EventType))


def test_every_event_has_a_topic_and_every_topic_its_dead_letters():
    own = {topic.name for topic in TOPICS if not topic.name.endswith(".dlq")}
    assert own == set(BY_TOPIC)
    assert {dead_letter_topic(name) for name in own} == {topic.name for topic in TOPICS} - own
    assert len(BY_NAME) == len(TOPICS)


def test_dead_letter_topics_take_the_largest_message_with_its_headers():
    for topic in TOPICS:
        assert BY_NAME[dead_letter_topic(topic.name)].headroom >= topic.headroom
    assert BY_NAME["run-requested.dlq"].headroom > 0


def test_the_public_topics_keep_their_names():
    assert PUBLIC == ("run-requested", "execution-complete", "scan-results")
    assert set(PUBLIC) <= set(BY_TOPIC)


def test_the_generated_reference_is_current():
    assert reference.stale(ROOT) == [], "run `python -m shared.kafka.reference`"


def test_the_asyncapi_document_is_whole():
    document = yaml.safe_load((ROOT / "docs/reference/asyncapi.yaml").read_text(encoding="utf-8"))
    assert document["asyncapi"] == "3.0.0"
    assert set(document["channels"]) == {topic.name for topic in TOPICS}
    text = json.dumps(document)
    for target in re.findall(r'"\$ref": "([^"]+)"', text):
        if target.startswith("#"):
            place = document
            for part in target.removeprefix("#/").split("/"):
                place = place[part]
        else:
            assert (ROOT / "docs/reference" / target).is_file()
