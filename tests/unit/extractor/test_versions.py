import copy
import random

import pytest

from services.extractor.lake.canonical import canonical, one_line, sha256_of_parts
from services.extractor.lake.versions import VOLATILE, version_of
from services.extractor.models import Answer
from tests.builders.extractions import a_bundle, a_record, an_answer, changed_execution, sample


def shuffled(value, rng):
    if isinstance(value, dict):
        items = [(key, shuffled(inner, rng)) for key, inner in value.items()]
        rng.shuffle(items)
        return dict(items)
    return [shuffled(one, rng) for one in value] if isinstance(value, list) else value


def test_the_order_of_keys_does_not_matter():
    seed = random.randrange(10**9)
    print("seed", seed)
    mixed = shuffled(sample("execution-88715"), random.Random(seed))
    assert version_of(a_bundle(execution=mixed)) == version_of(a_bundle())


def test_the_time_of_extraction_does_not_matter():
    from datetime import UTC, datetime

    later = a_record(at=datetime(2027, 1, 1, tzinfo=UTC))
    assert later.version == a_record().version
    assert later.envelope != a_record().envelope


@pytest.mark.parametrize("field", sorted(VOLATILE["goal"]))
def test_volatile_fields_of_the_goal_do_not_matter(field):
    goal = sample("goal-")["goal"] | {field: "something else"}
    assert version_of(a_bundle(goal=an_answer("goal-9640", goal))) == version_of(a_bundle())


def test_the_number_of_sharing_journeys_does_not_matter():
    journey = copy.deepcopy(sample("journey-"))
    journey["cases"][0]["sharedCount"] += 1
    changed = a_bundle(journeys={527211: an_answer("journey-527211", journey)})
    assert version_of(changed) == version_of(a_bundle())


def test_other_environments_do_not_matter_but_the_parent_does():
    environments = [*sample("environments-"), {"id": 1, "name": "Other", "variables": {}}]
    answer = an_answer("environments-5120", {"environments": environments})
    assert version_of(a_bundle(environments=answer)) == version_of(a_bundle())
    parent = copy.deepcopy(sample("environments-"))
    parent[0]["variables"]["30111"]["value"] = "de-DE"
    answer = an_answer("environments-5120", {"environments": parent})
    assert version_of(a_bundle(environments=answer)) != version_of(a_bundle())


def test_a_change_of_the_execution_is_another_version():
    seen = {version_of(a_bundle())}
    for changes in ({"outcome": "FAIL"}, {"tags": ["nightly"]}, {"endDate": 1721125514526}):
        seen.add(version_of(a_bundle(execution=changed_execution(**changes))))
    assert len(seen) == 4


def test_missing_and_denied_are_different_versions():
    versions = {
        version_of(a_bundle(journeys={527211: Answer("journey-527211", status)}))
        for status in ("missing", "denied")
    }
    assert len(versions | {version_of(a_bundle())}) == 3


def test_text_that_utf8_cannot_hold_has_bytes_too():
    assert canonical({"a": "\ud800"}) == b'{"a":"\\ud800"}'
    assert one_line({"a": "\ud800"}) == b'{"a": "\\ud800"}'
    assert one_line({"a": "é"}) == '{"a": "é"}'.encode()


def test_a_hash_over_parts_knows_their_names():
    assert sha256_of_parts({"a": b"1", "b": b"2"}) == sha256_of_parts({"b": b"2", "a": b"1"})
    assert sha256_of_parts({"a": b"1"}) != sha256_of_parts({"b": b"1"})
