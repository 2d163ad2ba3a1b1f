"""Runs an existing suite of browser tests as a process and collects its report.

The report lies at `test-reports/<step>.xml` in the run's working directory, where a step's `reports` may find it, and
beside the other artifacts as `junit.xml`.
"""

import re
from dataclasses import replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from services.executor.commands.base import CommandContext
from services.executor.commands.outcome import Outcome, failed
from services.executor.programs.browser.finding import find_browser, why_missing

PROGRAMS = {"pytest": ["python3", "-m", "pytest"], "playwright": ["npx", "playwright"]}
FOLDER = "test-reports"
BROWSER = "CADENZA_BROWSER"
_RUN = """\
mkdir -p "${CADENZA_REPORT%/*}" && cd "$CADENZA_SUITE" || exit 126
"$@"
code=$?
if [ -f "$CADENZA_REPORT" ] && [ -d "$CADENZA_KEEP" ]; then cp "$CADENZA_REPORT" "$CADENZA_KEEP/junit.xml"; fi
exit $code
"""


class Suite(BaseModel):
    """A suite and how to run it."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, defer_build=True
    )

    runner: Literal["pytest", "playwright"]
    """Which options the report is asked for with."""
    program: list[str] = Field(default_factory=list, max_length=20)
    """How the runner is started; []: `python3 -m pytest`, `npx playwright`."""
    args: list[str] = Field(default_factory=list, max_length=10_000)
    """Arguments of the runner: files, `-k`, `--grep`, `--workers` …"""
    working_dir: str = Field(".", min_length=1, max_length=4096)
    """Where the suite is, inside the run's working directory."""


async def run_suite(suite: Suite, ctx: CommandContext, *, base_url: str | None) -> Outcome:
    """Run it to its end. It sees the browser as `CADENZA_BROWSER` and the address as `BASE_URL`."""
    folder = (ctx.working_dir / suite.working_dir).resolve()
    if not folder.is_relative_to(ctx.working_dir.resolve()) or not folder.is_dir():
        return failed("working_dir_missing", f"there is no folder '{suite.working_dir}'")
    name = re.sub(r"[^A-Za-z0-9._\-]+", "-", ctx.env.get("CADENZA_STEP", "suite"))
    report = f"{FOLDER}/{name}.xml"
    place = ctx.reach.browser
    browser = find_browser(place.path, ctx.env.get("PATH"))
    if browser is None:
        await ctx.emit("stderr", f"{why_missing(place.path)}; the suite has to bring its own\n")
    whole = str(ctx.working_dir / report)
    env = {
        "CADENZA_REPORT": whole,
        "CADENZA_SUITE": str(folder),
        "CADENZA_KEEP": str(ctx.artifacts_dir or ""),
        "PLAYWRIGHT_JUNIT_OUTPUT_FILE": whole,
        **({BROWSER: browser} if browser else {}),
        **({"BASE_URL": base_url} if base_url else {}),
    }
    limits = replace(ctx.limits, address_space=False)  # browsers reserve far more than they use
    outcome = await replace(ctx, limits=limits).run_process(
        ["/bin/sh", "-c", _RUN, "suite", *_command(suite, whole)], env=env
    )
    return _verdict(suite, outcome, report)


def _command(suite: Suite, report: str) -> list[str]:
    program = suite.program or PROGRAMS[suite.runner]
    if suite.runner == "pytest":
        return [*program, f"--junitxml={report}", *suite.args]
    return [*program, "test", "--reporter=line,junit", *suite.args]


def _verdict(suite: Suite, outcome: Outcome, report: str) -> Outcome:
    outcome = replace(outcome, outputs={**outcome.outputs, "report": report})
    if outcome.status != "failed" or outcome.reason != "nonzero_exit":
        return outcome  # a limit, say, explains more than the exit code that came of it
    match suite.runner, outcome.exit_code:
        case _, 127:
            return replace(outcome, reason="program_missing", error="there is no such runner here")
        case _, 1:
            return replace(outcome, reason="tests_failed", error="some of the tests failed")
        case "pytest", 5:
            return replace(outcome, reason="no_tests", error="the suite has no tests")
    return outcome
