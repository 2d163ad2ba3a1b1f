import copy
import json

import jsonschema
import pytest

from services.extractor.errors import InconsistentAnswer
from services.extractor.fetching import finished, journey_ids
from services.extractor.lake.canonical import one_line
from services.extractor.lake.envelope import envelope
from services.extractor.lake.schema import ENVELOPE
from services.extractor.models import Answer, Bundle
from tests.builders.extractions import (
    EXTRACTED,
    a_bundle,
    a_customer,
    an_answer,
    changed_execution,
    recorded,
    sample,
)


def made(bundle=None):
    record = envelope(bundle or a_bundle(), customer=a_customer(), extracted_at=EXTRACTED)
    jsonschema.validate(record, ENVELOPE, cls=jsonschema.Draft202012Validator)
    return record


def test_it_has_the_agreed_form():
    record = made()
    assert list(record) == [
        "customerId", "extractedAt", "schemaVersion",
        "execution", "journey", "journeys", "testData", "results",
    ]  # fmt: skip
    assert record["customerId"] == "001"
    assert record["extractedAt"] == "2026-01-31T12:00:00.123Z"
    execution = record["execution"]
    assert execution["id"] == 88715
    assert execution["status"] == "FINISHED"
    assert execution["startDate"] == "2024-07-16T10:25:00.000Z"
    assert execution["endDate"] == "2024-07-16T10:25:14.525Z"
    assert execution["duration"] == 14525
    journey = record["journey"]
    assert (journey["id"], journey["name"]) == (527211, "Suite 18")
    assert journey == record["journeys"][0]
    assert sum(len(one["steps"]) for one in journey["checkpoints"]) == len(journey["steps"]) == 15
    assert record["results"] == {"passed": 15, "failed": 0, "skipped": 0}


def test_the_environment_is_the_own_over_the_parents():
    environment = made()["testData"]["environment"]
    assert environment["id"] == 2711
    assert environment["inheritsFrom"] == 2710
    assert environment["variables"]["url"] == "https://rooms.example/#/welcome"
    assert environment["variables"]["locale"] == "en-GB"


def test_what_was_used_wins_over_what_was_handed_over_and_that_over_the_table():
    execution = copy.deepcopy(sample("execution-88715"))
    row = execution["meta"]["initialDataPerJourneySequence"]["527211"]["1"]
    row["organiser"] = "handed.over"
    row["attendees"] = "7"
    variables = made(a_bundle(execution=execution))["testData"]["variables"]
    assert variables["organiser"] == "sam.planner"  # used at run time
    assert variables["attendees"] == "7"  # handed over; the table says 6
    assert "catering" not in variables  # empty


def test_no_secret_is_left_in_clear():
    text = one_line(made()).decode()
    assert "correct-horse-42" not in text
    assert "st-4f1c9a77" not in text
    assert made()["testData"]["variables"]["password"] == "********"


def test_a_journey_that_cannot_be_read_is_kept_as_such():
    journeys = {
        1: Answer("journey-1", "missing"),
        2: Answer("journey-2", "denied"),
        527211: an_answer("journey-527211", sample("journey-527211")),
    }
    record = made(a_bundle(journeys=journeys))
    assert record["journey"] == {"id": 1, "status": "missing"}
    assert record["journeys"][1] == {"id": 2, "status": "denied"}
    assert len(record["journeys"][2]["steps"]) == 15
    assert record["results"]["passed"] == 15


def test_denied_environments_are_not_empty_ones():
    denied = a_bundle(environments=Answer("environments-5120", "denied"))
    assert made(denied)["testData"]["environment"] == {"id": 2711, "status": "denied"}


def test_steps_without_a_run_were_not_reached():
    execution = copy.deepcopy(sample("execution-88715"))
    cases = execution["testSuites"]["527211"]["testCases"]
    first, *_, last = cases.values()
    next(iter(first["testSteps"].values()))["outcome"] = "ERROR"
    last["testSteps"] = {}
    record = made(a_bundle(execution=execution))
    assert record["results"] == {"passed": 3, "failed": 1, "skipped": 11}
    outcomes = [step["outcome"] for step in record["journey"]["steps"]]
    assert outcomes == ["ERROR", "PASS", "PASS", "PASS", *["NOT_REACHED"] * 11]


def test_an_outcome_without_meaning_is_refused():
    execution = copy.deepcopy(sample("execution-88715"))
    case = next(iter(execution["testSuites"]["527211"]["testCases"].values()))
    next(iter(case["testSteps"].values()))["outcome"] = "RUNNING"
    with pytest.raises(InconsistentAnswer, match="RUNNING"):
        made(a_bundle(execution=execution))


def test_numbers_that_became_text_are_still_read():
    execution = changed_execution(duration="14525", startDate="1721125500000")
    assert made(a_bundle(execution=execution))["execution"]["duration"] == 14525


@pytest.mark.parametrize(
    ("changes", "is_finished"),
    [
        ({}, True),
        ({"status": "RUNNING"}, False),
        ({"status": "QUEUED", "endDate": None}, False),
        ({"endDate": None}, False),
        ({"status": "CANCELED"}, True),
    ],
)
def test_finished(changes, is_finished):
    assert finished(changed_execution(**changes)) is is_finished


def test_journeys_are_those_that_the_execution_names():
    assert journey_ids({"meta": {"testSuiteIds": [5, "6", 5, None]}}) == [5, 6]
    assert journey_ids({"testSuites": {"7": {}}}) == [7]
    assert journey_ids({}) == []


def recorded_bundle(execution):
    project = recorded("reconstructed-environments.json")["item"]
    return Bundle(
        execution=an_answer("execution-88715", execution),
        journeys={
            527218: an_answer("journey-527218", recorded("testsuite-527218-part1.json")),
        },
        goal=an_answer("goal-8534", recorded("reconstructed-goal.json")["response"]["item"]),
        environments=an_answer("environments-4889", project),
    )


def test_the_recorded_execution():
    source = recorded("execution-88715-part1.json")
    assert journey_ids(source) == [527218]
    record = made(recorded_bundle(source))
    assert record["results"] == {"passed": 5, "failed": 0, "skipped": 0}
    assert record["execution"]["startDate"] == "2024-07-16T10:29:12.277Z"
    assert record["execution"]["duration"] == 14525
    assert record["journey"]["title"] == "PermitApp Add Permit Activities"
    variables = record["testData"]["variables"]
    assert variables["username"] == "demo.user"
    assert variables["password"] == "********"
    assert variables["url"] == "https://app.example.test/#/login"
    assert record["testData"]["environment"]["id"] == 2418
    assert "example-password" not in json.dumps(record)


def test_the_derived_failure():
    record = made(recorded_bundle(recorded("derived-execution-88715-part1-error.json")))
    assert record["results"] == {"passed": 3, "failed": 1, "skipped": 1}
    (failed,) = [step for step in record["journey"]["steps"] if step["outcome"] == "ERROR"]
    assert failed["error"]["message"] == "Element not found"


@pytest.mark.parametrize(
    "name", ["testsuite-527211.json", "testsuite-527218-part1.json", "testsuite-612731-a.json"]
)
def test_every_step_of_a_recorded_journey_is_kept(name):
    journey = recorded(name)
    answers = {journey["id"]: an_answer(f"journey-{journey['id']}", journey)}
    record = made(a_bundle(journeys=answers))
    expected = [step["id"] for case in journey["cases"] for step in case["steps"]]
    assert [step["id"] for step in record["journey"]["steps"]] == expected
    assert "example-password" not in json.dumps(record)
