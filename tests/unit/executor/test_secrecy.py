"""What a step gets, and what is masked in what it says."""

import base64
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from services.executor.secrecy import RunSecrecy
from shared.errors import NotFound
from shared.plans.plan import Plan
from shared.security.secrets import SettingsSecrets
from tests.builders.runs import a_plan
from tests.unit.executor.bench import Bench, shell

VALUE = "p@ss word/+ü"


def values(**given):
    return SettingsSecrets({"acme": {name: SecretStr(value) for name, value in given.items()}})


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path, variables=values(base_url="https://shop.example.com", count="3"))


async def test_variables_reach_command_env_and_input(bench):
    journal = await bench.run(
        shell(
            "echo ${{ vars.base_url }}/cart $N ${{ input.url }}",
            "a",
            env={"N": "${{ vars.count }}"},
            input={"url": "${{ vars.base_url }}"},
        )
    )
    assert journal.text_of("a") == "https://shop.example.com/cart 3 https://shop.example.com\n"
    assert journal.end_of("a").input == {"url": "https://shop.example.com"}


async def test_an_unknown_variable_fails_the_step_by_name(bench):
    journal = await bench.run(shell("echo ${{ vars.nope }}", "a"))
    assert (journal.end_of("a").status, journal.end_of("a").reason) == ("failed", "not_found")
    assert "there is no variable 'nope'" in journal.end_of("a").error


async def test_what_one_step_wrote_down_is_masked_when_another_prints_it(bench):
    journal = await bench.run(
        shell('printf %s "$T" > kept', "a", env={"T": "${{ secrets.token }}"}),
        shell("cat kept; echo; base64 kept", "b"),
    )
    assert journal.text_of("b") == "[redacted]\n[redacted]\n"


async def test_a_secret_that_a_later_step_lacks_does_not_hurt_an_earlier_one(bench):
    journal = await bench.run(shell("true", "a"), shell("echo ${{ secrets.nope }}", "b"))
    assert journal.end_of("a").status == "completed"
    assert journal.end_of("b").reason == "not_found"


async def test_every_form_of_a_value_is_masked():
    plan = Plan.model_validate(a_plan(shell("echo ${{ secrets.one }}", "a"), shell("true", "b")))
    secrecy = RunSecrecy(plan, "acme", secrets=values(one=VALUE), variables=values())
    known = await secrecy.of(plan.steps[1])
    assert (known.secrets, known.variables) == ({}, {})
    for form in (VALUE, quote(VALUE, safe=""), base64.b64encode(VALUE.encode()).decode()):
        assert VALUE not in known.redactor.redact(f"a {form} b")
        assert "[redacted]" in known.redactor.redact(f"a {form} b")


async def test_values_may_be_hidden_later():
    plan = Plan.model_validate(a_plan(shell("true", "a")))
    secrecy = RunSecrecy(plan, "acme", secrets=values(key="a-key-value"), variables=values())
    before = secrecy.redactor
    assert before is secrecy.redactor
    secrecy.hide(["found-out-later"])
    assert secrecy.redactor.redact("found-out-later") == "[redacted]"
    assert await secrecy.secret("key") == "a-key-value"
    assert secrecy.redactor.redact("a-key-value") == "[redacted]"
    with pytest.raises(NotFound, match="there is no secret 'other'"):
        await secrecy.secret("other")
