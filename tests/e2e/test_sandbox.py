"""`cadenza up` with everything in it: restarts, the command line against it, and sudden ends."""

import os
import signal
import time

import psutil
import pytest

from tests.e2e import apps
from tests.e2e.conftest import everything_of
from tests.e2e.examples import Gateway, run_all

STUBBORN = """\
name: stubborn
steps:
- name: one
  command: {type: shell, command: "trap '' TERM; echo started; sleep 300.%s; sleep 300"}
"""


def until(condition, seconds: float = 15):
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.1)
    return answer


def sleepers(mark: int) -> list[psutil.Process]:
    return [
        p
        for p in psutil.process_iter(["cmdline"])
        if f"300.{mark}" in " ".join(p.info["cmdline"] or ())
    ]


def every_example_and_app_does_what_it_says(platform, tmp_path) -> None:
    with platform.seven_ps(), Gateway(platform.gateway) as gateway:
        with apps.running(platform, gateway) as left_out:
            outcome = run_all(gateway, tmp_path)
            assert not outcome.problems, "\n".join(outcome.problems)
        left_out += outcome.left_out
    print("left out:", left_out)
    assert not left_out or os.environ.get("CI") != "true"


@pytest.mark.slow
@pytest.mark.breaks
@pytest.mark.timeout(300)
def test_the_platform_ends_whole_and_finds_its_runs_again(platform, tmp_path):
    mark = os.getpid()
    plan = tmp_path / "plan.yaml"
    plan.write_text(STUBBORN % mark)

    platform.up()
    done = platform.json("run", "examples/01-dag/plan.yaml", "--follow", "--input", "orders=10")
    assert done["status"] == "completed"
    every_example_and_app_does_what_it_says(platform, tmp_path)
    stuck = platform.json("run", str(plan))["execution_id"]
    until(lambda: sleepers(mark))
    # Ctrl-C while a step runs that ignores SIGTERM
    assert platform.end(signal.SIGINT) < 5
    assert everything_of(platform) == []
    assert sleepers(mark) == []

    platform.up()
    assert platform.json("executions", "show", done["execution_id"])["status"] == "completed"
    until(lambda: sleepers(mark), 30)  # handed back at the end, so it runs again
    # and now without any warning
    platform.end(signal.SIGKILL)
    until(lambda: not everything_of(platform) and not sleepers(mark))

    platform.up()
    assert platform.call("cancel", stuck).returncode == 0
    until(lambda: platform.json("executions", "show", stuck)["status"] == "cancelled", 45)
    assert sleepers(mark) == []
