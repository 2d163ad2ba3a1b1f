"""Browsers that are missing, crash, hang, take too much or go where they may not; and that nothing of them is left."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

from services.executor.commands.reach import BrowserPlace
from services.executor.processes.model import Limits
from tests.integration.executor.browser.conftest import HERE, REGISTRY, context, run
from tests.unit.executor.processes.contexts import alive, until

FOREVER = {"action": "wait_for", "ms": 600_000}


def script(site, *steps, url="/about", **arguments):
    opened = {"action": "navigate", "url": url}
    return {"base_url": site.url, "steps": [opened, *steps], "trace": "off", **arguments}


def descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def command_lines(processes) -> dict[int, str]:
    found = {}
    for process in processes:
        with contextlib.suppress(psutil.Error):
            found[process.pid] = " ".join(process.cmdline())
    return found


async def running(folder, arguments, **fields):
    """A script that is under way, when its first step is done; the context, and everything that it has started."""
    ctx, printed, _ = context(folder, **fields)
    parts = {process.pid for process in descendants()}  # the broker of other tests, say
    task = asyncio.create_task(REGISTRY.get("playwright").execute(arguments, ctx))
    await until(lambda: "✓ 1/" in printed.stdout or task.done(), 60)
    assert not task.done(), printed.stdout
    started = [process for process in descendants() if process.pid not in parts]
    assert any("--type=renderer" in line for line in command_lines(started).values())
    return task, ctx, started


async def gone(processes):
    await until(lambda: not [p for p in processes if alive(p.pid)], 20)


async def test_without_a_browser_the_step_says_how_to_get_one(site, tmp_path):
    ran = await run(
        tmp_path, "playwright", script(site), place=BrowserPlace("/nowhere/at/all/chromium")
    )
    assert ran.end == ("failed", "browser_missing")
    assert "apt-get install chromium" in ran.outcome.error
    assert "/nowhere/at/all/chromium" in ran.outcome.error
    ran = await run(tmp_path, "element_extraction", {"url": site.url}, env={"PATH": "/nowhere"})
    assert ran.end == ("failed", "browser_missing")
    assert "none of chromium" in ran.outcome.error


async def test_a_program_that_is_no_browser(site, tmp_path):
    ran = await run(tmp_path, "playwright", script(site), place=BrowserPlace("/bin/false"))
    assert ran.end == ("failed", "browser_failed")


async def test_a_cancel_leaves_nothing_of_the_browser_and_keeps_the_results(site, tmp_path):
    task, ctx, started = await running(tmp_path, script(site, FOREVER))
    ctx.cancel.set()
    outcome = await asyncio.wait_for(task, 60)
    assert outcome.status == "cancelled"
    assert [step["status"] for step in outcome.outputs["steps"]] == ["passed"]
    await gone(started)


async def test_a_browser_that_is_killed(site, tmp_path):
    task, _, started = await running(tmp_path, script(site, FOREVER, {"action": "reload"}))
    browser = [
        pid
        for pid, line in command_lines(started).items()
        if "--user-data-dir" in line and "--type=" not in line and "crashpad" not in line
    ]
    assert browser
    for pid in browser:
        os.kill(pid, signal.SIGKILL)
    outcome = await asyncio.wait_for(task, 60)
    assert (outcome.status, outcome.reason) == ("failed", "browser_crashed")
    assert outcome.error == "the browser crashed or was killed"
    assert [step["status"] for step in outcome.outputs["steps"]] == ["passed", "failed", "skipped"]
    await gone(started)


async def test_a_page_that_never_loads_and_time_that_is_over(site, tmp_path):
    ran = await run(
        tmp_path, "playwright", script(site, url="/never", navigation_timeout_seconds=0.5)
    )
    assert ran.end == ("failed", "navigation_failed")
    assert ran.outcome.error.endswith("/never did not load within 0.5 s")
    before = set(descendants())
    ran = await run(tmp_path, "playwright", script(site, FOREVER, url="/never"), timeout=3)
    assert ran.end == ("timed_out", "timeout")
    await gone(set(descendants()) - before)


async def test_a_page_that_crashes(site, tmp_path):
    ran = await run(
        tmp_path,
        "playwright",
        script(site, {"action": "navigate", "url": "chrome://crash"}, {"action": "reload"}),
        place=BrowserPlace(allowed_networks=HERE, schemes=("http", "chrome")),
    )
    assert ran.end == ("failed", "browser_crashed")
    assert ran.outcome.error == "a page crashed"
    assert ran.steps[2]["status"] == "skipped"


async def test_memory_is_limited_for_the_browser_as_a_whole(site, tmp_path):
    ran = await run(
        tmp_path,
        "playwright",
        script(site, FOREVER, url="/greedy"),
        limits=Limits(memory_mb=700),
    )
    assert ran.end == ("failed", "oom")
    assert "the limit of 700 MiB of memory" in ran.outcome.error


async def test_alerts_popups_and_hosts_that_are_not_allowed(site, tmp_path):
    place = BrowserPlace(allowed_hosts=("localhost",), allowed_networks=HERE)
    here = site.url.replace("127.0.0.1", "localhost")
    asked = f"fetch('{site.url}/team?forbidden').then(() => 'let through', () => 'refused')"
    ran = await run(
        tmp_path,
        "playwright",
        {
            "base_url": here,
            "timeout_seconds": 20,
            "continue_on_failure": True,
            "trace": "off",
            "steps": [
                {"action": "navigate", "url": "/alerts"},
                {"action": "assert_text", "element": "css=h1", "equals": "After"},
                {"action": "navigate", "url": "/shop"},
                {"action": "click", "element": "#storm"},
                {"action": "switch_page", "page": 20},
                {"action": "switch_page", "page": 1},
                {"action": "evaluate", "script": asked, "save_as": "asked"},
                {"action": "navigate", "url": site.url + "/team"},
            ],
        },
        place=place,
    )
    assert [step["status"] for step in ran.steps] == ["passed"] * 7 + ["failed"]
    assert ran.end == ("failed", "host_refused")
    assert ran.outcome.outputs["values"]["asked"] == "refused"
    assert not any("/team" in path for path in site.asked)
    assert len(ran.outcome.outputs["dialogs"]) == 20, "not told one by one for ever"
    assert "a page was closed: a script may have 20" in ran.printed


def may_run_python(uid: int) -> bool:
    """Root may become that user, and the user may start this Python: not where it lies in root's own home."""
    if os.geteuid() != 0:
        return False
    try:
        return subprocess.run([sys.executable, "-c", ""], user=uid, check=False).returncode == 0
    except OSError:
        return False


async def test_a_browser_of_another_user(site):
    """Where the user may not start our Python the step says so."""
    uid = 54_321
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in (folder, folder / "work", folder / "artifacts"):
            path.mkdir(exist_ok=True)
            if os.geteuid() == 0:
                os.chown(path, uid, uid)
        steps = script(site, {"action": "screenshot", "name": "mine"}, video="on")
        ran = await run(folder, "playwright", steps, uid=uid if os.geteuid() == 0 else None)
        if os.geteuid() == 0 and not may_run_python(uid):
            assert ran.end == ("failed", "not_executable")
            return
        assert ran.end == ("completed", None)
        assert ran.files() == ["02-mine.png", "video-1.webm"]
        assert (ran.kept / "02-mine.png").stat().st_uid == (
            uid if os.geteuid() == 0 else os.geteuid()
        )
