import json
import os
from pathlib import Path

import pytest

from services.proxy.commands import registry
from services.proxy.commands.base import created_step, guess
from services.proxy.models import Place
from shared.errors import InvalidRequest, NotFound

COMMANDS = registry.build()
FIXTURES = Path(
    os.environ.get("CADENZA_FIXTURES", Path(__file__).parents[4] / "shared" / "fixtures")
)
POSTMAN = FIXTURES / "virtuoso" / "step-payloads-postman.json"

# Postman's entry → the command that must give the same parsedStep
CANONICAL = {
    "NAVIGATE": ("step-navigate.to", {"url": "https://example.com"}),
    "CLICK": ("step-interact.click", {"element": "Submit"}),
    "WRITE": ("step-interact.write", {"element": "Email Field", "text": "user@example.test"}),
    "ASSERT_EXISTS": ("step-assert.exists", {"element": "Success Message"}),
    "WAIT - for Time": ("step-wait.time", {"milliseconds": 2000}),
}


PLACE = Place(1680449, 3)


def body(name, arguments, place=PLACE):
    command = COMMANDS.get(name)
    return command.request(command.parse(arguments), place).body


@pytest.mark.parametrize("entry", CANONICAL)
def test_payload_is_the_canonical_one(entry):
    if not POSTMAN.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{POSTMAN} is missing")
        pytest.skip("recorded payloads are not here; set CADENZA_FIXTURES")
    recorded = {one["name"]: one["body"] for one in json.loads(POSTMAN.read_text())}[entry]
    name, arguments = CANONICAL[entry]
    assert body(name, arguments, Place(recorded["checkpointId"], recorded["stepIndex"])) == recorded


def test_every_command_has_a_payload_test():
    names = {command.name for command in registry.COMMANDS}
    assert names == {name for name, _ in CANONICAL.values()}


def test_step_goes_to_the_place_given():
    command = COMMANDS.get("step-wait.time")
    request = command.request(command.parse({"milliseconds": 5}), Place(7, -1))
    assert (request.method, request.path) == ("POST", "/teststeps?envelope=false")
    assert (request.body["checkpointId"], request.body["stepIndex"]) == (7, -1)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("step-navigate", "step-navigate.to"),
        ("step-click", "step-interact.click"),
        ("step-write", "step-interact.write"),
    ],
)
def test_old_names_find_the_same_command(alias, name):
    assert COMMANDS.get(alias) is COMMANDS.get(name)


def test_click_options_end_in_the_hint():
    def clue(**arguments):
        step = body("step-interact.click", arguments)["parsedStep"]
        return json.loads(step["target"]["selectors"][0]["value"])

    assert clue(element="Save", position="TOP_LEFT") == {"clue": "Save", "position": "TOP_LEFT"}
    assert clue(element="Save", element_type="BUTTON") == {
        "clue": "Save",
        "position": "CENTER",
        "elementType": "BUTTON",
    }
    assert clue(variable="target") == {"clue": "", "variable": "target"}


def test_write_options():
    step = body("step-interact.write", {"element": "Name", "variable": "user", "append": True})[
        "parsedStep"
    ]
    assert (step["value"], step["variable"], step["meta"]["append"]) == ("", "user", True)


@pytest.mark.parametrize(
    ("name", "arguments", "field", "rule"),
    [
        ("step-navigate.to", {"url": "/login"}, "arguments.url", "string_pattern_mismatch"),
        ("step-navigate.to", {}, "arguments.url", "missing"),
        (
            "step-navigate.to",
            {"url": "https://x.test", "newtab": True},
            "arguments.newtab",
            "extra_forbidden",
        ),
        ("step-interact.click", {}, "arguments", "value_error"),
        (
            "step-interact.write",
            {"element": "E", "variable": "$v"},
            "arguments.variable",
            "string_pattern_mismatch",
        ),
        (
            "step-interact.write",
            {"element": "E", "text": "\ud800"},
            "arguments.text",
            "string_unicode",
        ),
        ("step-assert.exists", {"element": ""}, "arguments.element", "string_too_short"),
        ("step-wait.time", {"milliseconds": 60_001}, "arguments.milliseconds", "less_than_equal"),
        ("step-wait.time", {"milliseconds": True}, "arguments.milliseconds", "int_type"),
    ],
)
def test_bad_arguments_name_field_and_rule(name, arguments, field, rule):
    with pytest.raises(InvalidRequest) as caught:
        COMMANDS.get(name).parse(arguments)
    assert [(one.field, one.rule) for one in caught.value.errors] == [(field, rule)]


def test_unknown_command_names_the_nearest():
    with pytest.raises(NotFound, match=r"did you mean 'step-interact\.click'"):
        COMMANDS.get("step-interact.clik")


def test_description_is_a_json_schema_with_help():
    shown = COMMANDS.get("step-write").describe()
    assert shown["name"] == "step-interact.write"
    assert shown["group"] == "step-interact"
    assert shown["needs_checkpoint"] is True
    assert shown["arguments"]["properties"]["element"]["description"] == "Field to write into."
    assert shown["arguments"]["required"] == ["element"]


@pytest.mark.parametrize(
    ("answer", "created"),
    [
        ({"testStep": {"id": 5}, "checkpoint": {"id": 1}}, {"step_id": 5}),
        ({"testStep": {"id": "5"}}, {"step_id": 5}),
        ({"id": 5}, {"step_id": 5}),
        ({}, {}),
        ([], {}),
        (None, {}),
    ],
)
def test_created_id_is_found_in_every_form(answer, created):
    assert created_step(answer) == created


def test_hint_is_compact_json():
    assert guess('say "hi" é') == {
        "selectors": [{"type": "GUESS", "value": '{"clue":"say \\"hi\\" é"}'}]
    }


def test_every_file_of_the_catalogue_is_listed():
    folder = Path(registry.__file__).parent
    groups = {path.stem for path in folder.glob("*.py")} - {
        "__init__",
        "base",
        "registry",
        "arguments",
    }
    source = Path(registry.__file__).read_text()
    assert {group for group in groups if f"*{group}.COMMANDS" in source} == groups
