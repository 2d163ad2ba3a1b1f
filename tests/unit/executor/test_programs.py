"""Our own programs as child processes, without anything heavy in them."""

import os
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from services.executor.programs import starting
from services.executor.programs.browser.finding import find_browser
from services.executor.programs.browser.hosts import allowed, scheme_admitted
from services.executor.programs.browser.report import Ended, Report
from tests.unit.executor.processes.contexts import a_context

PROGRAM = """
import json, os, pathlib, stat, sys
request = pathlib.Path(sys.argv[1])
mode = stat.S_IMODE(request.stat().st_mode)
out = {"asked": json.loads(request.read_text())["text"], "mode": mode, "home": os.environ["HOME"]}
(pathlib.Path.home() / "left-behind").write_text("x")
if out["asked"] == "fail":
    out["cadenza_end"] = {"reason": "went_wrong", "error": "so it is"}
pathlib.Path(os.environ["CADENZA_OUTPUT"]).write_text(json.dumps(out))
sys.exit(3 if out["asked"] == "fail" else 0)
"""


class Asked(BaseModel):
    text: str


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A tree of its own, so that the program is found by its module name."""
    package = tmp_path / "tree/services/executor/programs"
    package.mkdir(parents=True)
    for folder in (package, package.parent, package.parent.parent):
        (folder / "__init__.py").touch()
    (package / "small.py").write_text(PROGRAM)
    monkeypatch.setattr(starting, "ROOT", tmp_path / "tree")
    return "small"


async def test_a_program_gets_its_request_in_a_folder_that_goes_with_it(program, tmp_path):
    ctx, _ = a_context(tmp_path, timeout=30)
    outcome = await starting.run_program(program, lambda _: Asked(text="do"), ctx)
    assert outcome.status == "completed", outcome
    assert (outcome.outputs["asked"], outcome.outputs["mode"]) == ("do", 0o600)
    home = Path(outcome.outputs["home"])
    assert home.parent == tmp_path
    assert not home.exists()


async def test_a_program_says_why_it_failed(program, tmp_path):
    ctx, _ = a_context(tmp_path, timeout=30)
    outcome = await starting.run_program(program, lambda _: Asked(text="fail"), ctx)
    assert (outcome.status, outcome.reason, outcome.error) == ("failed", "went_wrong", "so it is")
    assert "cadenza_end" not in outcome.outputs
    assert outcome.exit_code == 3


async def test_a_program_that_says_nothing_fails_by_its_exit_code(tmp_path):
    ctx, _ = a_context(tmp_path, timeout=30)
    outcome = await starting.run_program("no_such_program", lambda _: Asked(text="x"), ctx)
    assert (outcome.status, outcome.exit_code) == ("failed", 1)


async def test_the_working_directory_offers_it_no_modules(program, tmp_path):
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    ctx, _ = a_context(tmp_path, timeout=30)
    outcome = await starting.run_program(program, lambda _: Asked(text="do"), ctx)
    assert outcome.status == "completed"


def test_a_browser_is_found_by_its_names(tmp_path):
    assert find_browser(None, str(tmp_path)) is None
    for name in ("google-chrome", "chromium"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
        assert find_browser(None, str(tmp_path)) == str(tmp_path / name)
    assert find_browser(sys.executable, os.defpath) == sys.executable
    assert find_browser(str(tmp_path / "gone"), os.defpath) is None


def test_hosts():
    patterns = ("shop.example.com", "*.test")
    assert allowed("http://shop.example.com:8080/x", patterns)
    assert allowed("https://a.b.test/", patterns)
    assert allowed("data:text/html,x", patterns)
    assert not allowed("http://evil.example.com/", patterns)
    assert not allowed("http://10.0.0.1/", patterns)
    assert allowed("http://10.0.0.1/", ())
    assert scheme_admitted("HTTP://x/", ("http",))
    assert scheme_admitted("data:text/html,x", ("http",))
    assert not scheme_admitted("file:///etc/passwd", ("http",))


def test_outputs_that_are_too_large_are_left_out_and_said(tmp_path, capsys):
    report = Report(tmp_path / "out")
    report.outputs |= {"small": 1, "large": "ü" * 1_000_000}
    assert report.end(Ended("why", "because")) == 1
    text = (tmp_path / "out").read_text()
    assert '"left_out": ["large"]' in text
    assert '"reason": "why"' in text
    assert "left out: large" in capsys.readouterr().out
