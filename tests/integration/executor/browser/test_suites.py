"""Suites that exist already, as processes: pytest for real, Playwright's own runner by what it is started with."""

import sys
import xml.etree.ElementTree as ET

from services.executor.commands.reach import BrowserPlace
from services.executor.processes.model import Limits
from tests.builders.runs import a_step
from tests.integration.executor.browser.conftest import run
from tests.unit.executor.bench import Bench, shell

TESTS = """
import os
from playwright.sync_api import sync_playwright

def test_the_shop():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ["CADENZA_BROWSER"])
        page = browser.new_page()
        page.goto(os.environ["BASE_URL"] + "/shop")
        assert page.title() == "Shop"
        browser.close()

def test_that_fails():
    assert 1 == 2
"""
PYTEST = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]


async def test_a_pytest_suite_drives_the_browser_and_its_report_counts_once(site, tmp_path):
    """It leaves its report in two places, and nobody names it; the next step is plain pytest."""
    bench = Bench(tmp_path, inline_output=65536)
    write = f"mkdir e2e; cat > e2e/test_shop.py <<'X'\n{TESTS}\nX"
    suite = {"runner": "pytest", "program": PYTEST, "working_dir": "e2e", "args": ["-q"]}
    report = "test-reports/suite.xml"
    plain = f"cat {report}; {' '.join(PYTEST)} -q --junitxml=out/junit.xml -k fails e2e >&2"
    journal = await bench.run(
        shell(write, "write"),
        a_step(
            "suite",
            command={"type": "playwright", "suite": suite, "base_url": site.url},
            timeout_seconds=100,
        ),
        shell(plain, "plain"),
        strategy={"type": "serial", "stop_on_error": False},
    )
    end = journal.end_of("suite")
    assert (end.status, end.reason, end.output["report"]) == ("failed", "tests_failed", report)
    kept = {one.name: one for one in journal.artifacts if one.step_id == 2}
    assert list(kept) == ["junit.xml"]
    text = (await bench.objects.get(kept["junit.xml"].key)).decode()
    assert text.strip() == journal.text_of("plain").strip()
    cases = {case.get("name"): len(case) for case in ET.fromstring(text).iter("testcase")}
    assert cases == {"test_the_shop": 0, "test_that_fails": 1}

    counts = {"tests": 2, "passed": 1, "failed": 1, "skipped": 0, "flaky": 0}
    assert end.results == counts, journal.text_of("suite", "system")
    assert journal.end_of("plain").results == counts | {"tests": 1, "passed": 0}
    names = {step: [case.name for case in cases] for (step, _), cases in journal.reported.items()}
    assert names == {2: ["test_the_shop", "test_that_fails"], 3: ["test_that_fails"]}


async def test_a_suite_without_tests(tmp_path):
    (tmp_path / "work").mkdir()
    suite = {"runner": "pytest", "program": PYTEST, "args": ["-k", "no_such_test"]}
    ran = await run(tmp_path, "playwright", {"suite": suite})
    assert ran.end == ("failed", "no_tests")


async def test_suites_that_cannot_run(tmp_path):
    suite = {"runner": "playwright", "program": ["no-such-runner"]}
    ran = await run(
        tmp_path, "playwright", {"suite": suite}, place=BrowserPlace("/nowhere/chromium")
    )
    assert ran.end == ("failed", "program_missing")
    assert "the suite has to bring its own" in ran.printed
    suite = {"runner": "pytest", "working_dir": "../.."}
    ran = await run(tmp_path, "playwright", {"suite": suite})
    assert ran.end == ("failed", "working_dir_missing")


async def test_playwrights_own_runner_is_asked_for_a_report(tmp_path):
    (tmp_path / "work").mkdir()
    runner = tmp_path / "work/runner"
    runner.write_text(
        '#!/bin/sh\necho "$@"\necho "<testsuites/>" > "$PLAYWRIGHT_JUNIT_OUTPUT_FILE"\n'
    )
    runner.chmod(0o755)
    suite = {"runner": "playwright", "program": [str(runner)], "args": ["--grep", "a b"]}
    ran = await run(tmp_path, "playwright", {"suite": suite})
    assert ran.end == ("completed", None)
    assert ran.printed == "test --reporter=line,junit --grep a b\n"
    assert (ran.kept / "junit.xml").read_text() == "<testsuites/>\n"


GREEDY = """
import time

def test_that_takes_too_much():
    held = b"x" * 300_000_000
    time.sleep(60)
"""


async def test_a_suite_is_bound_by_the_memory_limit(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work/test_greedy.py").write_text(GREEDY)
    suite = {"runner": "pytest", "program": PYTEST}
    ran = await run(tmp_path, "playwright", {"suite": suite}, limits=Limits(memory_mb=128))
    assert ran.end == ("failed", "oom")


async def test_a_limit_explains_more_than_that_tests_failed(tmp_path):
    """What pytest makes of a fork that was refused is exit code 1, as of any failed test."""
    said = "echo 'BlockingIOError: Resource temporarily unavailable' >&2; exit 1"
    suite = {"runner": "pytest", "program": ["sh", "-c", said]}
    limits = Limits(processes=50_000)
    ran = await run(tmp_path, "playwright", {"suite": suite}, limits=limits)
    assert ran.end == ("failed", "process_limit")
    ran = await run(tmp_path, "playwright", {"suite": suite})
    assert ran.end == ("failed", "tests_failed")
