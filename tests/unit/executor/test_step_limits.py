"""The limits of one step: real programs that take too much, and the reason that people are told."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.executor.processes.memory import kernel_kills
from services.executor.processes.model import Limits
from services.executor.processes.narrowing import narrowed, not_granted
from services.executor.processes.spawning import Exit
from services.executor.processes.users import StepUsers
from services.executor.processes.verdict import Evidence, verdict
from shared.plans.plan import StepLimits
from tests.builders.runs import a_step
from tests.unit.executor.bench import Bench, shell

EATER = "x = []\nwhile True: x.append(bytearray(b'x') * 1_000_000)"
FAMILY = """
import os, time
for _ in range(4):
    if os.fork() == 0:
        data = bytearray(os.urandom(1)) * 40_000_000
        time.sleep(60)
time.sleep(60)
"""


def python(source: str, **more):
    command = {"type": "exec", "program": "python3", "args": ["-c", source]}
    return {"name": "one", "command": command, **more}


def test_of_two_limits_the_lower_holds():
    own = Limits(memory_mb=500, cpu_seconds=None, output_bytes=4096)
    asked = StepLimits(memory_mb=900, cpu_seconds=7, output_bytes=2048, on_output_limit="fail")
    assert narrowed(own, asked) == Limits(
        memory_mb=500, cpu_seconds=7, output_bytes=2048, output_fails=True
    )
    assert list(not_granted(own, asked)) == [
        "limits.memory_mb: 900 was asked for, this executor allows 500"
    ]
    assert narrowed(own, None) is own
    assert list(not_granted(own, None)) == []


@pytest.mark.parametrize("wrong", [{"memory_mb": 1}, {"cpu_seconds": 0}, {"disk": 5}])
def test_limits_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        StepLimits.model_validate(wrong)


async def test_a_higher_limit_than_the_executors_is_told_and_not_given(tmp_path):
    bench = Bench(tmp_path, limits=Limits(open_files=64))
    journal = await bench.run(shell("ulimit -n", limits={"open_files": 128}))
    assert journal.text_of("one") == "64\n"
    assert "128 was asked for" in journal.text_of("one", "system")


@pytest.mark.breaks
@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (python(EATER, limits={"memory_mb": 256}), "oom"),
        (python(FAMILY, limits={"memory_mb": 128}), "oom"),
        (
            python(
                "import signal; signal.signal(signal.SIGXCPU, lambda *_: None)\nwhile True: pass",
                limits={"cpu_seconds": 1},
            ),
            "cpu_limit",
        ),
        (
            shell("python3 -c 'while True: pass'; exit $?", limits={"cpu_seconds": 1}),
            "cpu_limit",
        ),
        (
            shell("exec head -c 3000000 /dev/zero > big", limits={"file_size_mb": 1}),
            "file_size_limit",
        ),
        (
            python("open('big', 'wb').write(bytes(3_000_000))", limits={"file_size_mb": 1}),
            "file_size_limit",
        ),
        (
            python("x = [open('/dev/null') for _ in range(99)]", limits={"open_files": 32}),
            "open_files_limit",
        ),
        (
            shell("yes; echo never", limits={"output_bytes": 4096, "on_output_limit": "fail"}),
            "output_limit",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_taking_too_much_ends_with_a_reason(tmp_path, step, reason):
    journal = await Bench(tmp_path).run(step)
    end = journal.end_of("one")
    assert (end.status, end.reason) == ("failed", reason), end.error
    assert "limit" in end.error or reason == "output_limit"


async def test_output_beyond_the_limit_is_cut_off_unless_the_plan_says_otherwise(tmp_path):
    journal = await Bench(tmp_path).run(
        shell("seq 1 100000", limits={"output_bytes": 2048}),
    )
    end = journal.end_of("one")
    assert (end.status, end.truncated) == ("completed", True)


@pytest.mark.breaks
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start steps as others")
async def test_forking_past_the_limit():
    folder = Path(tempfile.mkdtemp(prefix="cadenza-limits-"))
    folder.chmod(0o711)
    try:
        bench = Bench(folder, users=StepUsers((61_011,)))
        source = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 60 & done; wait"
        command = {"type": "shell", "command": source, "shell": "sh"}
        journal = await bench.run(a_step(command=command, limits={"processes": 10}))
        end = journal.end_of("one")
        assert (end.status, end.reason) == ("failed", "process_limit"), end.error
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("end", "evidence", "reason"),
    [
        (Exit(None, 9), Evidence(), "signal"),
        (Exit(None, 9), Evidence(killed_by_kernel=True), "oom"),
        (Exit(137, None), Evidence(killed_by_kernel=True), "oom"),
        (Exit(1, None), Evidence(killed_by_kernel=True), "nonzero_exit"),
        (Exit(None, 9), Evidence(Limits(memory_mb=100), peak_memory_mb=95), "oom"),
        (Exit(None, 9), Evidence(Limits(memory_mb=100), peak_memory_mb=50), "signal"),
        (Exit(None, 9, 3.1), Evidence(Limits(cpu_seconds=3)), "cpu_limit"),
        (Exit(1, None), Evidence(last_words=b"MemoryError\n"), "nonzero_exit"),
        (Exit(1, None), Evidence(Limits(memory_mb=100), last_words=b"MemoryError\n"), "oom"),
        (Exit(0, None), Evidence(Limits(memory_mb=100), last_words=b"MemoryError\n"), None),
        (Exit(None, None), Evidence(), "start_failed"),
        (Exit(0, None), Evidence(stopped_by="timeout"), "timeout"),
    ],
)
def test_the_verdict_needs_evidence(end, evidence, reason):
    assert verdict(end, evidence)[1] == reason


def test_the_kernels_count_can_be_read():
    assert kernel_kills() >= 0


async def test_a_kill_that_the_kernel_counted_is_told_as_such(tmp_path, monkeypatch):
    counts = iter([3, 4])
    monkeypatch.setattr("services.executor.processes.sampling.kernel_kills", lambda: 3)
    monkeypatch.setattr("services.executor.processes.runner.kernel_kills", lambda: next(counts))
    for reason in ("signal", "oom"):
        journal = await Bench(tmp_path).run(shell("kill -9 $$"))
        assert journal.end_of("one").reason == reason
