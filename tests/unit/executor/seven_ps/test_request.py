"""What a plan says about test sets becomes a request of 7PS."""

import pytest
import yaml

from services.executor.seven_ps import request
from services.executor.seven_ps.request import ARGUMENTS, SECRETS, Set
from shared.errors import InvalidRequest
from shared.plans.validation import validate_plan
from tests.builders.runs import a_plan, a_step
from tests.builders.seven_ps import ARGS, a_request, an_order

COMMAND = {
    "type": "seven_ps",
    "release": "r-7",
    "environment": "qa",
    "test_sets": [{"id": "checkout"}],
    "args": ARGS,
    "secrets": {"DB_USER": "${{ secrets.u }}", "DB_PASSWORD": "${{ secrets.p }}"},
}


def test_one_set_is_named_in_the_arguments_and_several_are_not():
    assert a_request()["args"]["TEST_SET_ID"] == "checkout"
    several = a_request(sets=[Set(id="a", name="A"), Set(id="b", name="B")])
    assert "TEST_SET_ID" not in several["args"]
    assert several["args"]["RELEASE_ID"] == "r-7"


def test_a_sets_own_arguments_win_but_not_over_who_it_is():
    one = Set(id="a", name="A", args={"DB_NAME": "mine", "RELEASE_ID": "x", "TEST_SET_ID": "y"})
    args = request.arguments_of(an_order(), one)
    assert (args["DB_NAME"], args["RELEASE_ID"], args["TEST_SET_ID"]) == ("mine", "r-7", "a")


@pytest.mark.parametrize("text", ["yes", "1.0", "a: b", "- x", "#", "ü\n'\"", "null", "*a", "!!x"])
def test_whatever_a_value_looks_like_it_stays_a_text(text):
    order = an_order(
        environment=text, args=ARGS | {"X": text}, sets=[Set(id=text, name=text, commands=[text])]
    )
    (environment,) = yaml.safe_load(request.configuration(order))["live_dependency_tests"]
    (one,) = environment["testSets"]
    assert environment["environment"] == text
    assert one["testSetName"] == one["args"]["X"] == one["args"]["TEST_SET_ID"] == text
    assert one["testAgentExecutionCommands"] == [text]


def test_component_tests_have_their_own_list():
    document = yaml.safe_load(a_request(test_type="component_tests")["testConfiguration"])
    assert document["component_tests"][0]["testSets"][0]["testType"] == "component"
    assert "live_dependency_tests" not in document


def test_secrets_stand_in_their_map_alone():
    built = a_request(secrets={"DB_USER": "s3cr3t-user", "DB_PASSWORD": "s3cr3t-word"})
    built.pop("secrets")
    assert "s3cr3t" not in str(built)


def test_what_is_missing_is_named():
    assert request.missing(an_order()) == []
    assert request.missing(an_order(args={}, secrets={})) == [
        *(f"args.{name}" for name in ARGUMENTS),
        *(f"secrets.{name}" for name in SECRETS),
    ]
    assert request.missing(an_order(args=ARGS | {"BASE_URL": " "})) == ["args.BASE_URL"]


def errors_of(**change):
    with pytest.raises(InvalidRequest) as refused:
        validate_plan(a_plan(a_step("sets", command=COMMAND | change)))
    return {
        (error.field.removeprefix("plan.steps[0].command"), error.rule)
        for error in refused.value.errors
    }


def without(values, name):
    return {key: value for key, value in values.items() if key != name}


def test_a_good_command_passes_validation():
    validate_plan(a_plan(a_step("sets", command=COMMAND)))


@pytest.mark.parametrize("name", ARGUMENTS)
def test_validation_names_a_missing_argument(name):
    assert errors_of(args=without(ARGS, name)) == {(f".args.{name}", "missing")}


@pytest.mark.parametrize("name", SECRETS)
def test_validation_names_a_missing_secret(name):
    secrets = without(COMMAND["secrets"], name)
    assert errors_of(secrets=secrets) == {(f".secrets.{name}", "missing")}


def test_validation_refuses_a_secret_that_is_written_out():
    secrets = COMMAND["secrets"] | {"DB_PASSWORD": "hunter2"}
    assert errors_of(secrets=secrets) == {(".secrets.DB_PASSWORD", "pattern")}


@pytest.mark.parametrize("text", ["${{ inputs.x }}", "${{input.x}}", "${{ steps.a.outputs.x }}"])
def test_validation_refuses_a_secret_that_comes_from_elsewhere(text):
    secrets = COMMAND["secrets"] | {"DB_PASSWORD": text}
    assert (".secrets.DB_PASSWORD", "not_allowed") in errors_of(secrets=secrets)


@pytest.mark.parametrize("text", ["${{ secrets.x }}", "https://u:${{secrets.x}}@host"])
def test_validation_refuses_a_secret_among_the_arguments(text):
    assert errors_of(args=ARGS | {"X": text}) == {(".args.X", "not_allowed")}
    test_sets = [{"id": "a", "args": {"X": text}}]
    assert errors_of(test_sets=test_sets) == {(".test_sets[0].args.X", "not_allowed")}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"test_sets": []}, ".test_sets"),
        ({"test_sets": [{"name": "x"}]}, ".test_sets[0].id"),
        ({"test_sets": [{"id": "x", "tpye": 1}]}, ".test_sets[0].tpye"),
        ({"args": ARGS | {"no name": "x"}}, ".args"),
        ({"args": ARGS | {"CADENZA_OWNER": "x"}}, ".args"),
        ({"secrets": COMMAND["secrets"] | {"CADENZA_STEP": "${{ secrets.x }}"}}, ".secrets"),
        ({"args": ARGS | {"X": 1}}, ".args.X"),
        ({"test_type": "unit"}, ".test_type"),
        ({"poll_seconds": 0}, ".poll_seconds"),
        ({"release": " "}, ".release"),
    ],
)
def test_validation_names_the_field(change, field):
    assert {found for found, _ in errors_of(**change)} == {field}
