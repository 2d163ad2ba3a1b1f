"""How a step ends whose job has ended, and what is kept of the answer."""

import json
import stat

import pytest

from services.executor.commands.reach import JobState
from services.executor.jobs.ending import outcome_of
from services.executor.jobs.keeping import keep_answer
from services.executor.jobs.report import CaseResult, Report, StepResult, SuiteResult
from shared.security.redaction import Redactor
from tests.unit.executor.processes.contexts import a_context


def a_report(status):
    step = StepResult("pay", status, error="no button" if status == "failed" else None)
    return Report([SuiteResult("A", [CaseResult("c", [step], status=status)], status=status)])


@pytest.mark.parametrize(
    ("job", "report", "status", "reason"),
    [
        ("completed", "passed", "completed", None),
        ("completed", "failed", "failed", "assertion_failed"),
        ("completed", "skipped", "failed", "nothing_ran"),
        ("completed", None, "failed", "nothing_ran"),
        ("failed", "passed", "failed", "job_failed"),
        ("failed", "failed", "failed", "assertion_failed"),
        ("failed", None, "failed", "job_failed"),
        ("cancelled", "passed", "failed", "job_cancelled"),
        ("cancelled", None, "failed", "job_cancelled"),
    ],
)
def test_only_what_ran_and_passed_and_says_so_is_completed(job, report, status, reason):
    state = JobState(job, message="as it says")
    found = None if report is None else a_report(report)
    end = outcome_of(state, found, service="Elsewhere", outputs={"job_id": "7"})
    assert (end.status, end.reason) == (status, reason)
    assert (end.outputs["job_id"], end.outputs["job_status"]) == ("7", job)
    if reason == "assertion_failed":
        assert end.error == "A / c / pay: no button"
    elif reason:
        assert "as it says" in end.error


async def test_an_answer_is_kept_without_the_secrets_of_the_step(tmp_path):
    ctx, _ = a_context(tmp_path, artifacts_dir=tmp_path, redactor=Redactor(["hidden-thing"]))
    await keep_answer(ctx, "raw.json", {"a": "is hidden-thing", "b": "\ud800"})
    assert json.loads((tmp_path / "raw.json").read_text())["a"] == "is [redacted]"
    assert stat.S_IMODE((tmp_path / "raw.json").stat().st_mode) == 0o600


async def test_nothing_is_written_through_a_link_or_over_a_file(tmp_path):
    kept, outside = tmp_path / "kept", tmp_path / "outside"
    kept.mkdir()
    outside.write_text("as it was")
    (kept / "link.json").symlink_to(outside)
    (kept / "there.json").write_text("as it was")
    ctx, _ = a_context(tmp_path, artifacts_dir=kept)
    for name in ("link.json", "there.json"):
        await keep_answer(ctx, name, {})
    assert outside.read_text() == (kept / "there.json").read_text() == "as it was"
    (tmp_path / "elsewhere").symlink_to(kept)
    ctx, printed = a_context(tmp_path, artifacts_dir=tmp_path / "elsewhere")
    await keep_answer(ctx, "new.json", {})
    assert not (kept / "new.json").exists()
    assert "was not kept" in printed.stderr


async def test_without_a_folder_nothing_is_kept(tmp_path):
    ctx, printed = a_context(tmp_path)
    await keep_answer(ctx, "raw.json", {})
    assert printed.pieces == []
