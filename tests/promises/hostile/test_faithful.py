"""Odd values, through the whole platform and back: nothing of them changes on the way."""

import json

import pytest

from tests.promises.hostile.values import STRINGS, everything, text

HOSTILE_OUTPUT = r"printf '\033[31mred\033]0;title\007\n\000nul\n\302\2331mC1\n\342\200\256bidi\r\n\360\237\230\200'"
WRITTEN = "\x1b[31mred\x1b]0;title\x07\n\0nul\n\x9b1mC1\n\u202ebidi\r\n😀"


@pytest.fixture(scope="module")
def executor(target):
    return target.it.service("executor")


def submission():
    values = everything()
    arguments = [value for value in STRINGS.values() if "\0" not in value and "${{" not in value]
    return {
        "plan": {
            "name": STRINGS["terminal"] + STRINGS["bidi"] + "\0",
            "description": STRINGS["controls"],
            "env": {"ODD": STRINGS["terminal"]},
            "inputs": dict.fromkeys(values, "a default"),
            "steps": [
                {
                    "name": "one",
                    "version": STRINGS["bidi"],
                    "command": {"type": "noop"},
                    "metadata": values,
                },
                {"name": "two", "command": {"type": "shell", "command": HOSTILE_OUTPUT}},
                {
                    "name": "three",
                    "command": {"type": "exec", "program": "printf", "args": ["%s|", *arguments]},
                },
            ],
        },
        "inputs": values,
        "labels": {"a=b": "c=d", "": "", "$x": "\u202e", "\x1b": "\0"},
        "metadata": values,
    }


@pytest.fixture(scope="module")
def run(target, client, executor):
    """A run of all that, ended."""
    answer = client.post("/v1/executions", content=json.dumps(submission()))
    assert answer.status_code == 202, answer.text
    waiting = client.get(answer.json()["links"]["self"]).json()
    target.it.wait_final(answer.json()["execution_id"])
    return waiting, client.get(answer.json()["links"]["self"]).json()


def test_what_was_accepted_is_given_back_before_and_after_it_ran(run):
    for seen in run:
        for name in ("plan", "inputs", "labels"):
            assert text(seen[name]) == text(submission()[name]), name
        metadata = {key: seen["metadata"][key] for key in submission()["metadata"]}
        assert text(metadata) == text(submission()["metadata"])
    assert run[1]["status"] == "completed"


def test_steps_keep_their_values(client, run):
    one = client.get(run[1]["links"]["steps"] if "links" in run[1] else steps_of(run)).json()
    first = one["items"][0]
    wanted = submission()["plan"]["steps"][0]
    assert first["step_version"] == wanted["version"]
    metadata = {key: first["metadata"][key] for key in wanted["metadata"]}
    assert text(metadata) == text(wanted["metadata"])


def steps_of(run):
    return f"/v1/executions/{run[1]['execution_id']}/steps"


def test_output_keeps_every_character(client, run):
    logs = f"/v1/executions/{run[1]['execution_id']}/logs"
    chunks = client.get(logs, params={"step": "two"}).json()["items"]
    assert "".join(chunk["text"] for chunk in chunks) == WRITTEN
    plain = client.get(logs, params={"step": "two"}, headers={"accept": "text/plain"})
    assert plain.content.decode() == WRITTEN
    chunks = client.get(logs, params={"step": "three"}).json()["items"]
    arguments = submission()["plan"]["steps"][2]["command"]["args"][1:]
    assert "".join(chunk["text"] for chunk in chunks) == "".join(f"{one}|" for one in arguments)


def test_the_run_is_found_by_its_odd_labels_and_name(client, run):
    for params in ({"label": "$x=\u202e"}, {"label": "a=b=c=d"}, {"name": run[1]["name"]}):
        found = client.get("/v1/executions", params=params).json()["items"]
        assert [one["execution_id"] for one in found] == [run[1]["execution_id"]], params


def test_the_event_stream_is_not_broken_by_line_breaks(client, run):
    path = f"/v1/executions/{run[1]['execution_id']}/events"
    with client.stream("GET", path) as answer:
        lines = answer.read().decode().split("\n")
    assert {line.partition(":")[0] for line in lines} <= {"", "id", "event", "data", "retry"}
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    written = "".join(
        event["data"]["text"]
        for event in events
        if event["type"] == "step.log" and event["step_name"] == "two"
    )
    assert written == WRITTEN
