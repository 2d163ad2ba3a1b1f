"""The engine as a program embeds it: real commands, state in memory."""

import asyncio
import json
import stat
import time
import uuid
from pathlib import Path

import pytest

from services.executor.library import (
    CommandFailed,
    Completed,
    DuplicateId,
    ExecutionCancelled,
    ExecutionConfig,
    ExecutionEngine,
    ExecutionNotFound,
    ExecutionTimedOut,
    Failed,
    InvalidCommand,
    InvalidPlan,
    InvalidWorkingDir,
    LogUnavailable,
    MissingField,
    MultiHandler,
    NotFinished,
    NotRunning,
    Progress,
    RecordingHandler,
    ScriptNotFound,
    SpawnFailed,
    Started,
    Stderr,
    Stdout,
    TimeoutTooLarge,
    ValidationFailed,
)


def shell(text, **fields):
    return {"command": {"type": "shell", "command": text}, **fields}


@pytest.fixture
async def engine(tmp_path):
    config = ExecutionConfig(log_dir=tmp_path / "logs", grace_ms=300)
    async with ExecutionEngine(config) as engine:
        yield engine


async def test_execute_returns_at_once_and_wait_brings_the_result(engine, tmp_path):
    started = time.monotonic()
    run_id = await engine.execute(
        shell("sleep 0.3; echo out; echo err >&2", working_dir=str(tmp_path))
    )
    assert time.monotonic() - started < 0.2
    assert await engine.get_status(run_id) in {"pending", "running"}
    with pytest.raises(NotFinished):
        await engine.get_result(run_id)
    result = await engine.wait(run_id, timeout=10)
    assert (result.status, result.exit_code) == ("completed", 0)
    assert (result.stdout, result.stderr) == ("out\n", "err\n")
    assert result.duration >= 0.3
    assert result.to_json()["duration"].endswith("s")
    assert await engine.get_result(run_id) == result
    assert result.raise_for_status() is result


async def test_ways_to_fail_have_types(engine):
    failed = await engine.wait(await engine.execute(shell("echo why >&2; exit 3")))
    assert (failed.status, failed.exit_code, failed.stderr) == ("failed", 3, "why\n")
    with pytest.raises(CommandFailed) as caught:
        failed.raise_for_status()
    assert caught.value.exit_code == 3
    missing = {"command": {"type": "exec", "program": "no-such-program"}}
    with pytest.raises(SpawnFailed, match="no-such-program"):
        (await engine.wait(await engine.execute(missing))).raise_for_status()
    late = await engine.wait(await engine.execute(shell("sleep 30", timeout_ms=200)))
    assert late.status == "timeout"
    with pytest.raises(ExecutionTimedOut):
        late.raise_for_status()
    signalled = await engine.wait(await engine.execute(shell("kill -9 $$")))
    assert (signalled.exit_code, signalled.signal) == (None, 9)
    assert "exit_code" not in signalled.to_json()


async def test_cancel_of_a_running_and_of_a_waiting_command(tmp_path):
    config = ExecutionConfig(log_dir=tmp_path, max_concurrent_executions=1, grace_ms=200)
    async with ExecutionEngine(config) as engine:
        running = await engine.execute(shell("trap '' TERM; echo up; sleep 30"))
        waiting = await engine.execute(shell(f"touch {tmp_path}/started"))
        while await engine.get_status(running) != "running":
            await asyncio.sleep(0.01)
        assert await engine.get_status(waiting) == "pending"
        await engine.cancel(waiting)
        assert (await engine.wait(waiting, 2)).status == "cancelled"
        await engine.cancel(running)
        result = await engine.wait(running, 3)
        with pytest.raises(ExecutionCancelled):
            result.raise_for_status()
        with pytest.raises(NotRunning):
            await engine.cancel(running)
        assert (await engine.wait(await engine.execute(shell("echo free")), 3)).stdout == "free\n"
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    ("request_", "error", "field"),
    [
        ({}, MissingField, "command"),
        ({"command": {}}, MissingField, "command.type"),
        ({"command": {"type": "shell"}}, MissingField, "command.command"),
        (shell(""), InvalidCommand, "command.command"),
        (shell("true", typo=1), ValidationFailed, "typo"),
        (shell("true", id="no-uuid"), ValidationFailed, "id"),
        (shell("true", working_dir="/nowhere"), InvalidWorkingDir, "working_dir"),
        (shell("true", timeout_ms=600_001), TimeoutTooLarge, "timeout_ms"),
        (shell("true", timeout_ms=0), ValidationFailed, "timeout_ms"),
        ({"command": {"type": "exec", "program": " "}}, InvalidCommand, "command.program"),
        ({"command": {"type": "shell", "command": "x", "shell": "fish"}}, InvalidCommand, "command.shell"),
        ({"command": {"type": "script", "path": "/nowhere.sh"}}, ScriptNotFound, "command.path"),
        ({"command": {"type": "telepathy"}}, InvalidCommand, "command.type"),
        ({"command": {"type": "aws_cli", "service": "ec2", "operation": ""}}, InvalidCommand, "command.operation"),
    ],
)  # fmt: skip
async def test_bad_requests_are_refused_before_anything_starts(engine, request_, error, field):
    with pytest.raises(error) as caught:
        await engine.execute(request_)
    assert caught.value.errors[0].field == field
    assert await engine.list_executions() == []


async def test_without_the_aws_program_its_commands_are_refused(engine, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidCommand, match="pip install awscli"):
        await engine.execute({"command": {"type": "aws_cli", "service": "s3", "operation": "ls"}})


async def test_refusals_say_what_helps(engine):
    with pytest.raises(TimeoutTooLarge, match="700000 ms is above the maximum of 600000 ms"):
        await engine.execute(shell("true", timeout_ms=700_000))
    with pytest.raises(InvalidCommand, match=r"available: .*shell"):
        await engine.execute({"command": {"type": "telepathy"}})
    with pytest.raises(ExecutionNotFound):
        await engine.get_status(str(uuid.uuid4()))


async def test_the_callers_id_is_kept_and_never_used_twice(engine):
    run_id = str(uuid.uuid4())
    assert await engine.execute(shell("true", id=run_id)) == run_id
    with pytest.raises(DuplicateId):
        await engine.execute(shell("true", id=run_id))
    with pytest.raises(DuplicateId) as caught:
        await engine.execute_plan({"commands": [shell("true"), shell("true", id=run_id)]})
    assert caught.value.errors[0].field == "commands[1].id"


async def test_the_log_is_private_redacted_and_outlives_the_engine(tmp_path):
    config = ExecutionConfig(log_dir=tmp_path / "logs")
    async with ExecutionEngine(config) as engine:
        request = shell(
            "echo token is $API_TOKEN; mysql --password=hunter22 2>/dev/null; echo hunter22 >&2",
            env={"API_TOKEN": "tok-123456"},
        )
        run_id = await engine.execute(request)
        result = await engine.wait(run_id)
        text = await engine.read_logs(run_id)
        path = await engine.get_log_path(run_id)
    for where in (text, result.stdout, result.stderr, json.dumps(result.to_json())):
        assert "tok-123456" not in where
        assert "hunter22" not in where
    assert "stdout | token is [redacted]" in text
    assert path == str(tmp_path / "logs" / f"{run_id}.log") == result.log_path
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600


async def test_an_unwritable_log_folder_fails_before_anything_starts(tmp_path):
    (tmp_path / "file").write_text("")
    engine = ExecutionEngine(ExecutionConfig(log_dir=tmp_path / "file" / "logs"))
    with pytest.raises(LogUnavailable):
        await engine.execute(shell(f"touch {tmp_path}/started"))
    assert await engine.list_executions() == []
    assert not (tmp_path / "started").exists()


async def test_the_default_log_folder_is_the_seeds(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    async with ExecutionEngine(ExecutionConfig()) as engine:
        result = await engine.wait(await engine.execute(shell("true")))
    assert result.log_path == f"{tmp_path}/cloudops-executions/{result.id}.log"


async def test_events_tell_the_life_in_order(tmp_path):
    heard = RecordingHandler()
    async with ExecutionEngine(ExecutionConfig(log_dir=tmp_path), heard) as engine:
        run_id = await engine.execute(shell("echo a; echo b; printf c"))
        result = await engine.wait(run_id)
    assert [type(e) for e in heard.events] == [Started, Stdout, Stdout, Stdout, Completed]
    assert [e.line for e in heard.events[1:4]] == ["a", "b", "c"]
    assert heard.events[-1].result == result
    assert heard.events[0].to_json()["event_type"] == "started"
    assert all(e.execution_id == run_id for e in heard.events)


async def test_a_timeout_is_told_as_failed_with_its_reason(tmp_path):
    heard = RecordingHandler()
    async with ExecutionEngine(ExecutionConfig(log_dir=tmp_path), heard) as engine:
        await engine.wait(await engine.execute(shell("sleep 9", timeout_ms=100)))
    assert isinstance(heard.events[-1], Failed)
    assert heard.events[-1].reason == "timeout"


async def test_stream_output_off_leaves_the_lines_out(tmp_path):
    heard = RecordingHandler()
    config = ExecutionConfig(log_dir=tmp_path, stream_output=False)
    async with ExecutionEngine(config, heard) as engine:
        result = await engine.wait(await engine.execute(shell("echo a; echo b >&2")))
    assert not [e for e in heard.events if isinstance(e, Stdout | Stderr)]
    assert result.stdout == "a\n"


async def test_a_handler_that_raises_or_hangs_never_delays_a_run(tmp_path):
    calm = RecordingHandler()

    def raises(event):
        raise RuntimeError("broken")

    def hangs(event):
        time.sleep(3)

    async def hangs_async(event):
        await asyncio.sleep(3600)

    engine = ExecutionEngine(ExecutionConfig(log_dir=tmp_path), raises)
    engine.with_event_handler(hangs).with_event_handler(hangs_async)
    engine.with_event_handler(MultiHandler(raises, calm))
    started = time.monotonic()
    result = await engine.wait(await engine.execute(shell("seq 200")))
    assert result.status == "completed"
    assert time.monotonic() - started < 2.5
    await engine.close()
    assert isinstance(calm.events[-1], Completed)


async def test_the_environment_of_the_program_does_not_leak(engine, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgres://secret")
    monkeypatch.setenv("HOME", "/home/somebody")
    result = await engine.wait(await engine.execute(shell("env", env={"MINE": "1"})))
    assert "DATABASE_URL" not in result.stdout
    assert "MINE=1" in result.stdout
    assert "HOME=/home/somebody" in result.stdout


async def test_the_history_is_bounded_and_newest_first(tmp_path):
    config = ExecutionConfig(log_dir=tmp_path, history_limit=3)
    async with ExecutionEngine(config) as engine:
        ids = []
        for n in range(5):
            ids.append(await engine.execute(shell(f"exit {n % 2}")))
            await engine.wait(ids[-1])
        assert [summary.id for summary in await engine.list_executions()] == ids[:1:-1]
        assert len(await engine.list_executions(status="failed")) == 1
        assert len(await engine.list_executions(limit=2)) == 2
        with pytest.raises(ExecutionNotFound):
            await engine.get_result(ids[0])
    assert (tmp_path / f"{ids[0]}.log").exists(), "the log outlives the entry"


async def test_serial_plan_stops_on_error_and_counts_what_did_not_run(engine):
    plan = {
        "description": "three",
        "strategy": {"type": "serial"},
        "commands": [shell("echo 1"), shell("exit 2"), shell("echo 3")],
    }
    run_id = await engine.execute_plan(plan)
    assert await engine.get_status(run_id) in {"pending", "running"}
    result = await engine.wait(run_id)
    assert [r.status for r in result.results] == ["completed", "failed", "cancelled"]
    assert result.status == "failed"
    assert result.stats.to_json() | {"timeout": 0} == {
        "total": 3, "completed": 1, "failed": 1, "cancelled": 1, "timeout": 0,
    }  # fmt: skip
    assert "skipped" in result.results[2].error
    assert await engine.get_plan_result(run_id) == result
    single = await engine.get_result(result.results[0].id)
    assert single.stdout == "1\n"


async def test_serial_plan_goes_on_when_told_to(engine):
    plan = {
        "strategy": {"type": "serial", "stop_on_error": False},
        "commands": [shell("exit 2"), shell("echo 3")],
    }
    result = await engine.wait(await engine.execute_plan(plan))
    assert [r.status for r in result.results] == ["failed", "completed"]


async def test_graph_runs_by_dependencies_and_tells_progress(tmp_path):
    heard = RecordingHandler()
    async with ExecutionEngine(ExecutionConfig(log_dir=tmp_path), heard) as engine:
        plan = {
            "strategy": {"type": "dependency_graph", "dependencies": {"0": [2], "1": [2], "3": [0, 1]}},
            "commands": [shell(f"echo {n} >> {tmp_path}/order") for n in range(4)],
        }  # fmt: skip
        result = await engine.wait(await engine.execute_plan(plan))
    assert result.status == "completed"
    order = (tmp_path / "order").read_text().split()
    assert order[0] == "2"
    assert order[-1] == "3"
    progress = [e for e in heard.events if isinstance(e, Progress)]
    assert [e.completed for e in progress] == [1, 2, 3, 4]
    assert {e.total for e in progress} == {4}


@pytest.mark.parametrize(
    ("dependencies", "rule"),
    [({"0": [1], "1": [0]}, "cycle"), ({"0": [0]}, "cycle"), ({"0": [7]}, "range"), ({"9": [0]}, "range")],
)  # fmt: skip
async def test_impossible_graphs_are_refused(engine, dependencies, rule):
    strategy = {"type": "dependency_graph", "dependencies": dependencies}
    with pytest.raises(InvalidPlan) as caught:
        await engine.execute_plan(
            {"strategy": strategy, "commands": [shell("true"), shell("true")]}
        )
    assert caught.value.errors[0].rule == rule


async def test_the_limit_of_the_engine_holds_over_plans_and_commands(tmp_path):
    config = ExecutionConfig(log_dir=tmp_path, max_concurrent_executions=2)
    busy = f"mkdir {tmp_path}/b.$$; ls -d {tmp_path}/b.* | wc -l; sleep 0.15; rmdir {tmp_path}/b.$$"
    async with ExecutionEngine(config) as engine:
        plan = {"strategy": {"type": "parallel"}, "commands": [shell(busy) for _ in range(4)]}
        ids = [await engine.execute_plan(plan), await engine.execute(shell(busy))]
        ids.append(
            await engine.execute_plan(
                {"strategy": {"type": "parallel"}, "commands": [shell(busy)] * 1}
            )
        )
        plan_result, single, other = [await engine.wait(run_id) for run_id in ids]
    seen = [int(r.stdout) for r in (*plan_result.results, single, *other.results)]
    assert len(seen) == 6
    assert max(seen) == 2


async def test_cancel_of_a_plan_ends_all_of_it(engine, tmp_path):
    plan = {"commands": [shell("sleep 30"), shell(f"touch {tmp_path}/second")]}
    run_id = await engine.execute_plan(plan)
    await asyncio.sleep(0.2)
    await engine.cancel(run_id)
    result = await engine.wait(run_id, 5)
    assert result.status == "cancelled"
    assert [r.status for r in result.results] == ["cancelled", "cancelled"]
    assert not (tmp_path / "second").exists()


async def test_close_ends_everything(tmp_path):
    engine = ExecutionEngine(ExecutionConfig(log_dir=tmp_path, grace_ms=100))
    run_id = await engine.execute(shell(f"echo $$ > {tmp_path}/pid; sleep 30"))
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        await asyncio.sleep(0.01)
    await engine.close()
    assert await engine.get_status(run_id) == "cancelled"
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


async def test_scripts_take_their_interpreter_from_the_first_line(engine, tmp_path):
    (tmp_path / "hello.py").write_text("#!/usr/bin/env python3\nimport sys; print(sys.argv[1])\n")
    command = {"type": "script", "path": "hello.py", "args": ["hi"]}
    result = await engine.wait(
        await engine.execute({"command": command, "working_dir": str(tmp_path)})
    )
    assert result.stdout == "hi\n"


def test_it_works_in_another_event_loop_too():
    uvloop = pytest.importorskip("uvloop")

    async def use():
        async with ExecutionEngine(ExecutionConfig()) as engine:
            return await engine.wait(await engine.execute(shell("echo in uvloop")))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(use()).stdout == "in uvloop\n"
