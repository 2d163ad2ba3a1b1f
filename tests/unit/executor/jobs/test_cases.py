"""Reports of test tools as test cases."""

from services.executor.jobs.cases import MAX_DETAILS, cases_of
from services.executor.jobs.report import CaseResult, Report, StepResult, SuiteResult
from services.executor.junit.cases import totals
from services.executor.reports import MAX_CASES, read
from shared.security.redaction import Redactor


def test_a_suite_that_blames_no_case_is_one_itself():
    passed = CaseResult("fine", [StepResult("go", "passed")], status="passed", duration_ms=3)
    suites = [
        SuiteResult("broken", [passed], status="failed", error="exit code 3"),
        SuiteResult("empty", [], status="skipped"),
    ]
    cases = cases_of(Report(suites))
    assert [(c.suite, c.name, c.status, c.message) for c in cases] == [
        ("broken", "fine", "passed", None),
        ("broken", "broken", "failed", "exit code 3"),
        ("empty", "empty", "skipped", None),
    ]
    assert cases_of(None) == ()


def test_a_case_says_why_and_its_steps_are_bounded():
    steps = [StepResult("x" * 100, "passed")] * 100 + [StepResult("pay", "failed", error="no")]
    hook = CaseResult("hook", [], status="failed", error="no browser")
    case = CaseResult("long", steps, status="failed")
    long, hooked = cases_of(Report([SuiteResult("s", [case, hook], status="failed")]))
    assert (long.message, len(long.details or "")) == ("pay: no", MAX_DETAILS + 1)
    assert (hooked.message, hooked.details) == ("no browser", None)


def test_rows_of_an_outline_have_one_name_and_are_no_tries():
    rows = [CaseResult("row", [], status=status) for status in ("failed", "passed")]
    told = cases_of(Report([SuiteResult("s", rows, status="failed")]))
    report = read([], since=0, redactor=Redactor(), told=told)
    assert totals(report.cases) == {"tests": 2, "passed": 1, "failed": 1, "skipped": 0, "flaky": 0}
    many = read([], since=0, redactor=Redactor(), told=told * MAX_CASES)
    assert len(many.cases) == MAX_CASES
    assert "more than 10000" in many.complaints[0]


def test_secrets_do_not_show():
    case = CaseResult("log in as dana-db", [StepResult("type dana-db", "failed", error="dana-db")])
    told = cases_of(Report([SuiteResult("s", [case], status="failed")]))
    assert "dana-db" not in repr(read([], since=0, redactor=Redactor(["dana-db"]), told=told))
