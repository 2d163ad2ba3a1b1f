"""What a rerun begins with, and what becomes of one whose records are gone."""

from services.executor.documents import new_run
from services.executor.models import StepRecord
from services.executor.reruns import as_rerun
from shared.events.run import Rerun
from tests.builders.runs import a_plan, a_run_requested, a_step
from tests.unit.executor.bench import Bench, shell

RECORDED = {
    1: {"step_id": 1, "status": "completed", "reason": None, "output": {"x": 1}, "output_uri": "file:///o"},
    2: {"step_id": 2, "status": "skipped", "reason": "condition_false", "reused_from": "older"},
}  # fmt: skip


def an_item(**rerun):
    request = a_run_requested(a_plan(a_step("a"), a_step("b"), a_step("c")))
    item = new_run(request, request.plan)
    return as_rerun(item, Rerun(**{"of": "first", "family": "root"} | rerun), RECORDED)


def test_steps_that_are_taken_over_begin_as_ended():
    item = an_item(reuse=[1, 2])
    assert (item.fields["rerun_of"], item.fields["family_id"]) == ("first", "root")
    a, b, c = item.children
    assert (a["status"], a["reason"], a["reused_from"]) == ("completed", "reused", "first")
    assert (a["output"], a["output_uri"], a["attempts"]) == ({"x": 1}, "file:///o", [])
    assert (b["status"], b["reason"], b["reused_from"]) == ("skipped", "condition_false", "older")
    assert (c["status"], c.get("reused_from")) == ("pending", None)
    assert a["_id"].startswith(item.id)


async def test_a_rerun_whose_records_are_gone_is_rejected_and_runs_nothing(tmp_path):
    item = an_item(reuse=[1, 3])
    assert {child["status"] for child in item.children} == {"pending"}
    bench = Bench(tmp_path)
    await bench.workspace.start()
    await bench.executor.run(bench.claim(a_plan(), unusable=item.fields["unusable"]))
    assert (bench.journal.ended.status, bench.journal.ended.reason) == ("failed", "rejected")
    assert "step 3 of execution first" in bench.journal.ended.error
    assert bench.journal.story == []


async def test_an_output_that_is_no_longer_kept_ends_the_run(tmp_path):
    bench = Bench(tmp_path)
    uri = (await bench.objects.put("acme/gone", b"{}")).uri
    await bench.objects.delete("acme/gone")
    bench.journal.records = [StepRecord(1, "a", status="completed", output_uri=uri)]
    journal = await bench.run(shell("true", "a"), shell("true", "b"))
    assert (journal.ended.status, journal.ended.reason) == ("failed", "output_gone")
    assert journal.story == []
