"""Encrypted fields in a run: usable by later steps, readable nowhere."""

import json
import secrets

import pytest

from services.executor.models import StepRecord
from services.gateway.sealed_fields import SealedFields
from shared.errors import InvalidRequest
from shared.plans.validation import validate_plan
from shared.security.encryption import Cipher
from shared.security.fields import HIDDEN, UNREADABLE
from shared.views.executions import StepView
from tests.builders.runs import a_plan
from tests.unit.executor.bench import Bench, shell

CIPHER = Cipher({"k": secrets.token_bytes(32)})
TOKEN = "tok-123456789"
LOGIN = shell(
    f"""echo '{{"token": "{TOKEN}", "who": "ann"}}' >> $CADENZA_OUTPUT""",
    "login",
    encrypted_fields=["output.token"],
)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path, cipher=CIPHER)


def told(journal):
    return f"{journal.ends} {journal.story} {journal.ended} {journal.lines} {journal.artifacts}"


async def test_later_steps_use_the_value_and_nothing_tells_it(bench):
    journal = await bench.run(
        LOGIN,
        shell(
            'test "$T" = tok-${N}56789 && echo same; echo $T; echo ${{ input.copy }}',
            "use",
            env={"T": "${{ steps.login.outputs.token }}", "N": "1234"},
            input={
                "copy": "${{ steps.login.outputs.token }}",
                "kept": "${{ steps.login.outputs.token }}",
            },
            encrypted_fields=["input.kept"],
        ),
    )
    assert journal.ended.status == "completed", journal.ended
    assert journal.text_of("use") == "same\n[redacted]\n[redacted]\n"
    assert journal.end_of("login").encrypted_fields == ("output.token",)
    assert journal.end_of("login").output["who"] == "ann"
    assert journal.end_of("use").input["copy"] == "[redacted]"
    assert journal.end_of("use").encrypted_fields == ("input.kept",)
    assert TOKEN not in told(journal)


async def test_it_works_after_recovery_and_a_swapped_envelope_is_refused(bench, tmp_path):
    first = await bench.run(LOGIN, shell("exit 1", "use"))
    kept = first.end_of("login").output

    async def recovered(name, output):
        again = Bench(tmp_path / name, cipher=CIPHER)
        again.journal.epoch = 2
        again.journal.records = [StepRecord(1, "login", "completed", output=output)]
        return await again.run(
            LOGIN, shell('test "$T" = tok-123456789; echo $T', "use", env={"T": "${{ steps.login.outputs.token }}"})
        )  # fmt: skip

    journal = await recovered("good", kept)
    assert journal.end_of("use").status == "completed"
    assert journal.text_of("use") == "[redacted]\n"
    for name, token in (("plain", TOKEN), ("cut", kept["token"][:-8])):
        journal = await recovered(name, {**kept, "token": token})
        assert (journal.ended.status, journal.ended.reason) == ("failed", "decryption_failed")


async def test_a_large_output_lies_encrypted_in_its_artifact_too(bench):
    journal = await bench.run(
        shell(
            f"""printf '{{"token": "{TOKEN}", "big": "%02000d"}}\\n' 7 >> $CADENZA_OUTPUT""",
            "login",
            encrypted_fields=["output.token"],
        ),
        shell('test "$T" = tok-123456789', "use", env={"T": "${{ steps.login.outputs.token }}"}),
    )
    assert journal.ended.status == "completed", journal.ends
    (artifact,) = [one for one in journal.artifacts if one.name == "output.json"]
    assert TOKEN.encode() not in await bench.objects.get(artifact.key)


async def test_without_a_key_the_step_does_not_begin(tmp_path):
    journal = await Bench(tmp_path).run(LOGIN)
    assert journal.end_of("login").reason == "encryption_missing"
    assert TOKEN not in told(journal)


async def test_who_has_the_role_sees_it_and_others_see_that_there_is_something(bench):
    journal = await bench.run(LOGIN)
    end = journal.end_of("login")
    step = StepView(
        execution_id="0197-run",
        step_id=1,
        step_name="login",
        status="completed",
        output=json.loads(json.dumps(dict(end.output))),
        encrypted_fields=list(end.encrypted_fields),
    )
    fields = SealedFields(CIPHER)
    assert fields.shown(step, "acme", decrypt=False).output == {"token": HIDDEN, "who": "ann"}
    assert fields.shown(step, "acme", decrypt=True).output == {"token": TOKEN, "who": "ann"}
    assert SealedFields().shown(step, "acme", decrypt=True).output["token"] == HIDDEN
    moved = step.model_copy(update={"execution_id": "another"})
    assert fields.shown(moved, "acme", decrypt=True).output["token"] == UNREADABLE
    assert fields.shown(step, "other", decrypt=True).output["token"] == UNREADABLE


@pytest.mark.parametrize(
    ("step", "rule"),
    [
        ({"encrypted_fields": ["token"]}, "pattern"),
        ({"encrypted_fields": ["output"]}, "pattern"),
        ({"encrypted_fields": ["input.no"]}, "unknown_input"),
        ({"encrypted_fields": ["input.a"], "input": {"a": "in the plan"}}, "plain_text"),
        ({"encrypted_fields": ["input.a"], "input": {"a": "${{ inputs.x }}"}}, "plain_text"),
        ({"encrypted_fields": ["input.*"], "input": {"a": 5}}, "plain_text"),
    ],
)
def test_what_makes_no_secret_is_refused(step, rule):
    with pytest.raises(InvalidRequest) as caught:
        validate_plan(a_plan(shell("true", "a", **step)))
    assert [error.rule for error in caught.value.errors] == [rule]
    assert caught.value.errors[0].field == "plan.steps[0].encrypted_fields[0]"
