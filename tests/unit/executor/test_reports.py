"""JUnit XML in the forms that test programs write it, and in the forms that nobody should."""

import os
from pathlib import Path

import pytest

from services.executor.artifacts import Found
from services.executor.junit import parsing
from services.executor.junit.cases import ReportedCase, added, folded, totals
from services.executor.junit.parsing import BadReport, read_cases
from services.executor.reports import MAX_CASES, read
from shared.security.redaction import Redactor
from tests.unit.executor.bench import Bench, shell

PYTEST = """<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="1" skipped="1" tests="4">
<testcase classname="tests.test_shop" name="test_buys" time="0.012"/>
<testcase classname="tests.test_shop" name="test_pays" time="1.5">
  <failure message="assert 3 == 4">def test_pays():\n&gt; assert 3 == 4</failure><system-out>noise</system-out></testcase>
<testcase classname="tests.test_shop" name="test_ships" time="0"><error message="fixture gone">trace</error></testcase>
<testcase classname="tests.test_shop" name="test_later" time="0.000"><skipped type="pytest.skip" message="not yet"/></testcase>
</testsuite></testsuites>"""
SUREFIRE = """<testsuite name="com.shop.CartTest" tests="3" time="1,234.5">
<properties><property name="java" value="21"/></properties>
<testcase name="adds" classname="com.shop.CartTest" time="1,234.5"/>
<testcase name="wobbles" classname="com.shop.CartTest" time="0.2">
  <flakyFailure message="first"><stackTrace>at A</stackTrace></flakyFailure>
  <flakyError message="second"/></testcase>
<testcase name="breaks" classname="com.shop.CartTest" time="0.3">
  <failure message="no" type="AssertionError">trace</failure><rerunFailure message="no again"/></testcase>
</testsuite>"""
GTEST = """<testsuites><testsuite name="Math"><testcase name="Adds" status="run" result="completed" time="0.1"
classname="Math"/><testcase name="Off" status="notrun" result="suppressed" classname="Math"/></testsuite></testsuites>"""
NESTED = """<testsuites xmlns="urn:x"><testsuite name="outer" file="outer.spec.ts"><testsuite name="inner">
<testcase name="a"/></testsuite><testcase name="b" file="b.ts"/></testsuite></testsuites>"""


def written(folder: Path, text: str | bytes, name="junit.xml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def cases_of(folder, text):
    return list(read_cases(written(folder, text)))


def test_pytest(tmp_path):
    cases = cases_of(tmp_path, PYTEST)
    assert [(c.name, c.status, c.duration_ms) for c in cases] == [
        ("test_buys", "passed", 12.0),
        ("test_pays", "failed", 1500.0),
        ("test_ships", "error", 0.0),
        ("test_later", "skipped", 0.0),
    ]
    assert (cases[1].message, cases[1].class_name) == ("assert 3 == 4", "tests.test_shop")
    assert cases[1].details.endswith("> assert 3 == 4")
    assert cases[3].message == "not yet"
    assert totals(cases) == {"tests": 4, "passed": 1, "failed": 2, "skipped": 1, "flaky": 0}


def test_surefire_tells_of_retries(tmp_path):
    adds, wobbles, breaks = cases_of(tmp_path, SUREFIRE)
    assert (adds.duration_ms, adds.retries, adds.suite) == (1_234_500.0, 0, "com.shop.CartTest")
    assert (wobbles.status, wobbles.flaky, wobbles.retries) == ("passed", True, 2)
    assert wobbles.message == "first"
    assert (breaks.status, breaks.flaky, breaks.retries) == ("failed", False, 1)


def test_other_forms(tmp_path):
    assert [c.status for c in cases_of(tmp_path, GTEST)] == ["passed", "skipped"]
    inner, outer = cases_of(tmp_path, NESTED)
    assert (inner.name, inner.suite, inner.file) == ("a", "inner", None)
    assert (outer.name, outer.suite, outer.file) == ("b", "outer", "b.ts")
    assert cases_of(tmp_path, "<testsuites/>") == []
    (odd,) = cases_of(
        tmp_path, "<testsuite><testcase time='soon'><failure/></testcase></testsuite>"
    )
    assert (odd.name, odd.duration_ms, odd.status, odd.message) == (
        "(no name)",
        None,
        "failed",
        None,
    )


def test_the_same_name_again_is_the_next_try_unless_it_had_passed():
    failed, passed = ReportedCase("t", status="failed", message="no"), ReportedCase("t")
    again = folded([failed, ReportedCase("other"), failed, passed, passed])
    assert [(c.name, c.status, c.retries, c.flaky) for c in again] == [
        ("t", "passed", 2, True),
        ("other", "passed", 0, False),
        ("t", "passed", 0, False),
    ]
    assert again[0].message == "no"
    elsewhere = ReportedCase("t", suite="firefox")
    assert [c.status for c in folded([failed, elsewhere])] == ["failed", "passed"]
    assert totals(again) == {"tests": 3, "passed": 3, "failed": 0, "skipped": 0, "flaky": 1}
    assert added(None, None) is None
    assert added(None, totals(again), totals(again))["tests"] == 6


LAUGHS = """<?xml version="1.0"?><!DOCTYPE t [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>
<testsuite><testcase name="&b;"/></testsuite>"""
OUTSIDE = """<!DOCTYPE t [<!ENTITY x SYSTEM "file:///etc/passwd">]><testsuite><testcase name="&x;"/></testsuite>"""


@pytest.mark.breaks
@pytest.mark.parametrize(
    ("text", "why"),
    [
        (LAUGHS, "document type"),
        (OUTSIDE, "document type"),
        ('<!DOCTYPE t SYSTEM "http://127.0.0.1:1/x.dtd"><testsuite/>', "document type"),
        ("", "broken"),
        ("no xml", "broken"),
        (b"\xff\xfe\x00", "broken"),
        (b"\x00" * 1000, "broken"),
        ("<html><body/></html>", "not JUnit XML"),
        ("<?xml version='1.0' encoding='klingon'?><testsuite/>", "r"),
        ("<testsuite><testcase name='a'/><testcase", "broken"),
        ("<testsuite>" * 200_000, "nested too deeply"),
        ("<testsuite>" + "<a/>" * 3_000, "too many elements"),
    ],
)
def test_what_is_no_report_is_said(tmp_path, text, why, monkeypatch):
    monkeypatch.setattr(parsing, "MAX_ELEMENTS", 2_000)
    path = written(tmp_path, text)
    with pytest.raises(BadReport, match=why):
        list(read_cases(path))
    report = read([Found(path, path.name, "report")], since=0, redactor=Redactor())
    assert len(report.complaints) == 1
    assert report.complaints[0].startswith('report "junit.xml": it ')


@pytest.mark.breaks
def test_links_and_devices_and_giants_are_not_read(tmp_path):
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "giant").open("wb") as file:
        file.truncate(33 * 1024 * 1024)
    for name in ("link", "pipe", "giant", "gone"):
        with pytest.raises(BadReport):
            list(read_cases(tmp_path / name))


def test_what_was_there_before_a_break_counts_and_secrets_do_not_show(tmp_path):
    text = "<testsuite><testcase name='says hidden-thing'/><testcase name='b'/><testc"
    found = Found(written(tmp_path, text), "a.xml", "report")
    report = read([found], since=0, redactor=Redactor(["hidden-thing"]))
    assert [case.name for case in report.cases] == ["says [redacted]", "b"]
    assert "broken" in report.complaints[0]


def test_ten_thousand_cases_are_the_most(tmp_path):
    text = "".join(f"<testcase name='{n}'/>" for n in range(MAX_CASES + 5))
    found = Found(written(tmp_path, f"<testsuite>{text}</testsuite>"), "a.xml", "report")
    report = read([found], since=0, redactor=Redactor())
    assert len(report.cases) == MAX_CASES
    assert "more than 10000" in report.complaints[0]


async def test_a_step_counts_what_its_programs_reported(tmp_path):
    source = f"mkdir -p out; cat > out/junit-1.xml <<'X'\n{PYTEST}\nX\ncp out/junit-1.xml $CADENZA_ARTIFACTS/more.xml; exit 1"
    bench = Bench(tmp_path)
    journal = await bench.run(shell(source, reports=["out/junit-*.xml", "more.xml", "none.xml"]))
    end = journal.end_of("one")
    assert (end.status, end.reason) == ("failed", "nonzero_exit")
    assert end.results == {"tests": 6, "passed": 2, "failed": 2, "skipped": 2, "flaky": 0}
    assert [case.name for case in journal.reported[1, "1.1"]][:2] == ["test_buys", "test_pays"]
    kept = {artifact.name: artifact.type for artifact in journal.artifacts}
    assert kept == {"out/junit-1.xml": "report", "more.xml": "report"}
    assert journal.text_of("one", "system") == "report 'none.xml' matches no file\n"


async def test_each_try_counts_its_own_report_only(tmp_path):
    report = '<testsuite><testcase name="a"/></testsuite>'
    first = f"echo '{report}' > a.xml; touch -d '2 minutes ago' a.xml"
    retry = {"max_attempts": 2, "initial_delay_seconds": 0}
    second = f"test ${{CADENZA_ATTEMPT#*.}} = 2 && echo '{report}' > b.xml"
    journal = await Bench(tmp_path).run(
        shell(first, "one"), shell(second, "two", reports=["*.xml"], retry=retry)
    )
    assert journal.end_of("one").results is None
    assert journal.end_of("two").results["tests"] == 1
    assert list(journal.reported) == [(2, "1.2")]
    assert 'report "a.xml" is older than this try' in journal.text_of("two", "system")


async def test_a_step_without_reports_has_no_results(tmp_path):
    journal = await Bench(tmp_path).run(shell("true", reports=["junit.xml"]))
    assert (journal.end_of("one").status, journal.end_of("one").results) == ("completed", None)


ONE = '<testsuite name="one"><testcase name="a"/></testsuite>'
TWO = '<testsuites><testsuite name="two"><testcase name="b"/><testcase name="c"/></testsuite></testsuites>'
UNNAMED = f"""
echo '{ONE}' > junit.xml; cp junit.xml "$CADENZA_ARTIFACTS/junit-again.xml"
mkdir -p target/surefire-reports node_modules/x out
echo '{TWO}' > target/surefire-reports/TEST-two.xml
echo '{ONE}' > node_modules/x/junit.xml
echo '<report/>' > report.xml; echo '<html/>' > junit-page.xml; echo '<!-- x --><testsuite/>' > out/a-junit.xml
echo '{TWO}' > other.xml; ln -s /etc/passwd junit-link.xml
"""


async def test_reports_that_nobody_named_count_once_each(tmp_path):
    journal = await Bench(tmp_path).run(shell(UNNAMED, "one"), shell("true", "two"))
    end = journal.end_of("one")
    assert (end.status, end.results["tests"]) == ("completed", 3), end
    assert {case.name for case in journal.reported[1, "1.1"]} == {"a", "b", "c"}
    kept = {artifact.name: artifact.type for artifact in journal.artifacts}
    assert kept == {
        "junit-again.xml": "report",
        "out/a-junit.xml": "report",
        "target/surefire-reports/TEST-two.xml": "report",
    }
    assert journal.text_of("one", "system") == ""
    assert journal.end_of("two").results is None


async def test_a_broken_report_that_nobody_named_is_a_note(tmp_path):
    source = "echo '<testsuite><testcase name=\"a\"/><testc' > junit.xml; : > junit-empty.xml"
    journal = await Bench(tmp_path).run(shell(source))
    end = journal.end_of("one")
    assert (end.status, end.results["tests"]) == ("completed", 1)
    assert 'report "junit.xml": it is broken' in journal.text_of("one", "system")
    assert 'report "junit-empty.xml": it is broken' in journal.text_of("one", "system")


async def test_who_names_reports_means_these_alone(tmp_path):
    source = f"echo '{ONE}' > junit.xml; echo '{TWO}' > mine.xml; cp junit.xml $CADENZA_ARTIFACTS"
    journal = await Bench(tmp_path).run(shell(source, reports=["mine.xml"]))
    assert journal.end_of("one").results["tests"] == 2


async def test_each_try_counts_a_report_that_nobody_named_when_it_wrote_it(tmp_path):
    """The second try leaves what the first one has written as it is."""
    retry = {"max_attempts": 2, "initial_delay_seconds": 0}
    source = f"test -e junit.xml || {{ echo '{ONE}' > junit.xml; exit 1; }}"
    journal = await Bench(tmp_path).run(shell(source, retry=retry))
    assert journal.end_of("one").status == "completed"
    assert (journal.end_of("one").results, list(journal.reported)) == (None, [(1, "1.1")])


async def test_of_steps_side_by_side_only_what_lies_among_their_artifacts_counts(tmp_path):
    meet = "touch {0}; until test -e {1}; do sleep 0.02; done"
    left = f"echo '{ONE}' > junit.xml; {meet.format('l', 'r')}"
    right = f"echo '{TWO}' > $CADENZA_ARTIFACTS/junit.xml; {meet.format('r', 'l')}"
    journal = await Bench(tmp_path).run(
        shell(left, "left"), shell(right, "right"), strategy={"type": "parallel"}
    )
    assert journal.end_of("left").results is None
    assert journal.end_of("right").results["tests"] == 2
    assert 'report "junit.xml" is not counted: another step' in journal.text_of("left", "system")
