"""What lanes, sub-plans and reruns get of the files and encrypted fields of the run that they come from."""

import secrets
from dataclasses import replace
from types import SimpleNamespace

import pytest

from services.executor.commands.children import Child, NewChild
from services.executor.documents import new_run
from services.executor.family import StepChildren
from services.executor.models import StepRecord
from services.executor.planning.data import named_in
from services.executor.reruns import as_rerun
from services.executor.sources.problems import SourceMissing
from services.gateway.sealed_fields import SealedFields
from shared.clock import SystemClock
from shared.errors import InvalidRequest
from shared.events.run import AppRun, Rerun
from shared.ids import new_id
from shared.plans.plan import Plan
from shared.plans.validation import validate_plan
from shared.security.encryption import Cipher
from shared.security.fields import HIDDEN
from shared.views.executions import StepView
from tests.builders.runs import a_plan, a_run_requested, a_step
from tests.unit.executor.bench import Bench, shell

CIPHER = Cipher({"k": secrets.token_bytes(32)})
TOKEN = "tok-123456789"
LOGIN = shell(
    f"""echo '{{"token": "{TOKEN}", "who": "ann"}}' >> $CADENZA_OUTPUT""",
    "login",
    encrypted_fields=["output.token"],
)
USE = shell(
    'test "$T" = tok-123456789; echo $T', "use", env={"T": "${{ steps.login.outputs.token }}"}
)
COMMIT = [{"type": "git", "commit": "c0ffee"}]
INNER = a_plan(a_step("a", env={"KEY": "${{ secrets.inner }}", "V": "${{ vars.inner }}"}))

PARENT = new_id()


class Ended:
    """A child whose steps have ended."""

    def __init__(self, steps):
        self.steps = steps

    async def outputs(self, _id):
        return self.steps


class Queue:
    """Takes what is added."""

    def __init__(self):
        self.items = []

    async def add(self, items, *, start):
        assert start == 0
        self.items += items


def children_of(parent, *, kin=None):
    family = SimpleNamespace(
        kin=kin,
        work=Queue(),
        objects=None,
        clock=SystemClock(),
        free=lambda: 0,
        wake=lambda: None,
    )
    document = {"_id": PARENT, "tenant": "acme", "content_hash": "h", **parent}
    return StepChildren(family, document, Plan.model_validate(a_plan(a_step("a"))), 1), family.work


async def test_lanes_have_the_files_of_their_parent_and_sub_plans_their_own():
    children, queue = children_of({"sources": COMMIT})
    plan = a_plan(a_step("a"))
    await children.start([NewChild(plan, {}, 1, {"x": 1}), NewChild(plan, {})])
    lane, sub_plan = queue.items
    assert lane.fields["sources"] == COMMIT
    assert "sources" not in sub_plan.fields


async def test_a_sub_plan_carries_the_name_of_its_app_and_its_number():
    children, queue = children_of({})
    plan, app = a_plan(a_step("a")), AppRun(app_id=4, app_name="tidy", app_version="2")
    await children.start([NewChild(plan, {}, app=app), NewChild(plan, {}, app=app, number=2)])
    first, second = queue.items
    assert (first.fields["app_name"], first.fields["app_version"]) == ("tidy", "2")
    assert first.id != second.id
    assert [one.fields["parent_attempt"] for one in queue.items] == [1, 2]


async def test_encrypted_fields_of_a_sub_plan_do_not_leave_it():
    step = {"step_name": "login", "output": {"token": "envelope", "who": "ann"}}
    kin = Ended([{**step, "encrypted_fields": ["output.token"]}, {"step_name": "b", "output": {}}])
    children, _ = children_of({}, kin=kin)
    found = await children.outputs(Child("child", None, "completed"))
    assert found == {"login": {"token": HIDDEN, "who": "ann"}, "b": {}}


async def test_a_run_with_rows_resolves_the_sources_for_its_lanes(tmp_path):
    brought = []

    class Sources:
        async def bring(self, run, note):
            brought.append(run.plan.name)
            await note(COMMIT)

    inline = [{"type": "inline", "files": {"a": "x"}}]
    bench = Bench(tmp_path, sources=Sources())
    await bench.run(a_step("a"), sources=inline, data=[{"x": 1}], env={"A": "${{ row.x }}"})
    assert bench.journal.resolved == COMMIT
    assert len(brought) == 1

    again = Bench(tmp_path / "again", sources=Sources())
    await again.workspace.start()
    plan = a_plan(a_step("a"), sources=inline, data=[{"x": 1}])
    await again.executor.run(again.claim(plan, sources=COMMIT))
    assert len(brought) == 1  # it runs nothing itself: what the lanes get is on record


async def test_clean_up_of_a_recovered_run_runs_without_the_files(tmp_path):
    class Sources:
        async def bring(self, run, _note):
            run.folder.begin_filling()
            raise SourceMissing("there is no such branch")

    inline = [{"type": "inline", "files": {"a": "x"}}]
    bench = Bench(tmp_path, sources=Sources())
    bench.journal.epoch = 2
    bench.journal.records = [StepRecord(1, "a", "completed"), StepRecord(2, "b")]
    clean = shell("touch here && echo '{\"x\": 1}' >> $CADENZA_OUTPUT", "clean", always=True)
    journal = await bench.run(a_step("a"), a_step("b"), clean, sources=inline)
    assert (journal.ended.status, journal.ended.reason) == ("failed", "source_missing")
    assert journal.end_of("b").status == "skipped"
    assert (journal.end_of("clean").status, journal.end_of("clean").output) == (
        "completed",
        {"x": 1},
    )


def test_what_a_plan_within_a_step_names_is_its_own():
    step = {"name": "sub", "command": {"type": "plan", "plan": INNER}}
    plan = Plan.model_validate(a_plan(step, env={"K": "${{ secrets.outer }}"}))
    named = named_in(plan, plan.steps[0])
    assert (named.secrets, named.variables) == ({"outer"}, frozenset())


@pytest.mark.parametrize(
    ("inputs", "refused"),
    [
        ({"t": "${{ steps.login.outputs.token }}"}, True),
        ({"t": {"all": "${{ steps.login.outputs }}"}}, True),
        ({"t": "${{ steps.login.outputs.who }}"}, False),
    ],
)
def test_an_encrypted_field_is_no_input_of_a_sub_plan(inputs, refused):
    inner = a_plan(a_step("a", env={"T": "${{ inputs.t }}"}))
    plan = a_plan(
        LOGIN, {"name": "s", "command": {"type": "plan", "plan": inner, "inputs": inputs}}
    )
    if not refused:
        validate_plan(plan)
        return
    with pytest.raises(InvalidRequest) as caught:
        validate_plan(plan)
    (error,) = caught.value.errors
    assert (error.rule, error.field) == ("plain_text", "plan.steps[1].command.inputs")


async def test_a_rerun_opens_what_it_takes_over_and_so_does_who_may_see_it(tmp_path):
    first = await Bench(tmp_path, cipher=CIPHER).run(LOGIN)
    end = first.end_of("login")
    recorded = {
        "step_id": 1,
        "status": "completed",
        "output": dict(end.output),
        "encrypted_fields": list(end.encrypted_fields),
    }
    request = a_run_requested(a_plan(LOGIN, USE))
    rerun = Rerun(of="0197-run", family="0197-run", reuse=[1])
    item = as_rerun(new_run(request, request.plan), rerun, {1: recorded}, COMMIT)
    assert item.fields["sources"] == COMMIT
    login = item.children[0]

    again = Bench(tmp_path / "again", cipher=CIPHER)
    again.journal.records = [
        StepRecord(1, "login", "completed", output=login["output"], reused_from="0197-run")
    ]
    await again.workspace.start()
    await again.executor.run(replace(again.claim(a_plan(LOGIN, USE)), id="another"))
    assert again.journal.end_of("use").status == "completed", again.journal.ended
    assert again.journal.text_of("use") == "[redacted]\n"

    view = StepView(
        execution_id="another",
        step_id=1,
        step_name="login",
        status="completed",
        output=login["output"],
        encrypted_fields=login["encrypted_fields"],
        reused_from="0197-run",
    )
    fields = SealedFields(CIPHER)
    assert fields.shown(view, "acme", decrypt=True).output["token"] == TOKEN
    assert fields.shown(view, "acme", decrypt=False).output["token"] == HIDDEN


def test_a_rerun_from_the_start_has_the_files_of_today():
    request = a_run_requested(a_plan(a_step("a")))
    item = as_rerun(new_run(request, request.plan), Rerun(of="f", family="f"), {}, COMMIT)
    assert "sources" not in item.fields
