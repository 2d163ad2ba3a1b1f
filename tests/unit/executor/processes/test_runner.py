"""Real processes, run to their end in every way that one can end."""

import asyncio
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from services.executor.processes.model import MIB, Limits
from services.executor.processes.runner import LocalProcessRunner
from shared.security.redaction import Redactor
from tests.unit.executor.processes.contexts import a_context, alive, bash, until


async def test_success_keeps_the_streams_apart_and_says_zero(tmp_path):
    outcome, printed = await bash("echo out; echo err >&2; echo out2", tmp_path)
    assert (outcome.status, outcome.exit_code, outcome.signal) == ("completed", 0, None)
    assert (printed.stdout, printed.stderr) == ("out\nout2\n", "err\n")


async def test_exit_code_and_signal_are_told_apart(tmp_path):
    outcome, _ = await bash("exit 7", tmp_path)
    assert (outcome.status, outcome.reason, outcome.exit_code) == ("failed", "nonzero_exit", 7)
    outcome, _ = await bash("kill -9 $$", tmp_path)
    assert (outcome.status, outcome.reason) == ("failed", "signal")
    assert (outcome.exit_code, outcome.signal) == (None, 9)
    assert "SIGKILL" in outcome.error


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["no-such-program-here"], "program_missing"),
        (["./nowhere"], "program_missing"),
        (["./plain"], "not_executable"),
        (["/etc"], "not_executable"),
        (["echo", "a\0b"], "invalid_arguments"),
    ],
)
@pytest.mark.parametrize("limits", [Limits(), Limits(open_files=64)])
async def test_what_cannot_start_says_why(tmp_path, argv, reason, limits):
    (tmp_path / "plain").write_text("echo no")
    ctx, _ = a_context(tmp_path, limits=limits)
    outcome = await ctx.run_process(argv)
    assert (outcome.status, outcome.reason) == ("failed", reason)
    assert outcome.error


async def test_a_missing_working_dir_is_named(tmp_path):
    ctx, _ = a_context(tmp_path / "gone")
    outcome = await ctx.run_process(["true"])
    assert (outcome.status, outcome.reason) == ("failed", "working_dir_missing")


async def test_a_timeout_is_its_own_status_even_if_the_process_exits_zero_for_it(tmp_path):
    started = time.monotonic()
    outcome, printed = await bash(
        "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done", tmp_path, timeout=0.4
    )
    assert (outcome.status, outcome.reason) == ("timed_out", "timeout")
    assert printed.stdout == "up\nbye\n"
    assert time.monotonic() - started < 10


async def test_a_child_that_ignores_sigterm_is_killed_with_its_whole_group(tmp_path):
    text = "trap '' TERM; (trap '' TERM; echo $BASHPID; exec sleep 60) & echo $$; wait; sleep 60"
    outcome, printed = await bash(text, tmp_path, timeout=0.4)
    assert outcome.status == "timed_out"
    pids = [int(line) for line in printed.stdout.split()]
    assert len(pids) == 2
    await until(lambda: not any(map(alive, pids)), 1)


async def test_cancel_ends_the_group_and_daemons_in_other_sessions(tmp_path):
    ctx, printed = a_context(tmp_path)
    text = (
        "setsid bash -c 'trap \"\" TERM; echo $$; sleep 60' & "
        "setsid bash -c 'setsid bash -c \"echo \\$\\$; sleep 60\" & exit' & echo $$; sleep 60"
    )
    running = asyncio.ensure_future(ctx.run_process(["bash", "-c", text]))
    await until(lambda: len(printed.stdout.split()) == 3)
    await asyncio.sleep(0.1)
    ctx.cancel.set()
    outcome = await running
    assert (outcome.status, outcome.reason) == ("cancelled", "cancelled")
    pids = [int(line) for line in printed.stdout.split()]
    await until(lambda: not any(map(alive, pids)), 1)


async def test_a_daemon_without_our_environment_is_found_if_it_was_seen_before(tmp_path):
    ctx, printed = a_context(tmp_path, sample=0.1)
    text = "(setsid env -i /bin/bash -c 'echo $$; sleep 60') & sleep 60"
    running = asyncio.ensure_future(ctx.run_process(["bash", "-c", text]))
    await until(lambda: printed.stdout)
    await asyncio.sleep(0.4)
    ctx.cancel.set()
    await running
    await until(lambda: not alive(int(printed.stdout)), 1)


async def test_cancelling_the_task_kills_at_once(tmp_path):
    ctx, printed = a_context(tmp_path, grace=30)
    text = "trap '' TERM; echo $$; while :; do sleep 0.1; done"
    running = asyncio.ensure_future(ctx.run_process(["bash", "-c", text]))
    await until(lambda: printed.stdout)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(lambda: not alive(int(printed.stdout)), 1)


async def test_nothing_starts_when_cancelled_or_late(tmp_path):
    ctx, _ = a_context(tmp_path)
    ctx.cancel.set()
    assert (await ctx.run_process(["touch", "started"])).status == "cancelled"
    ctx, _ = a_context(tmp_path, timeout=-1)
    assert (await ctx.run_process(["touch", "started"])).status == "timed_out"
    assert not (tmp_path / "started").exists()


async def test_a_grandchild_that_keeps_the_pipes_open_does_not_delay_the_end(tmp_path):
    started = time.monotonic()
    outcome, printed = await bash("sleep 60 & echo $!", tmp_path)
    assert outcome.status == "completed"
    assert time.monotonic() - started < 10
    await until(lambda: not alive(int(printed.stdout)), 1)


async def test_a_daemon_that_writes_for_ever_does_not_delay_the_end(tmp_path):
    started = time.monotonic()
    outcome, printed = await bash("setsid yes & echo $! >&2", tmp_path)
    assert outcome.status == "completed"
    assert time.monotonic() - started < 20
    await until(lambda: not alive(int(printed.stderr)), 2)  # SIGPIPE


async def test_stdout_closed_early_is_not_the_end(tmp_path):
    outcome, printed = await bash("exec 1>&-; sleep 0.3; echo late >&2; exit 3", tmp_path)
    assert (outcome.exit_code, printed.stderr) == (3, "late\n")
    outcome, _ = await bash("exec 1>&- 2>&-; sleep 0.3; exit 4", tmp_path)
    assert outcome.exit_code == 4


async def test_stdin_is_closed(tmp_path):
    outcome, printed = await bash("cat; echo done", tmp_path, timeout=5)
    assert (outcome.status, printed.stdout) == ("completed", "done\n")


async def test_bytes_that_are_not_utf8_are_replaced_and_split_characters_are_not(tmp_path):
    _, printed = await bash(r"printf 'a\xff\xfeb\n'", tmp_path)
    assert printed.stdout == "a\ufffd\ufffdb\n"
    outcome, printed = await bash(
        "python3 -c \"import sys; sys.stdout.write('€' * 100_001)\"", tmp_path
    )
    assert printed.stdout == "€" * 100_001
    assert not outcome.truncated


async def test_one_line_of_100_mb_is_capped_and_the_memory_stays_small(tmp_path):
    sizes = []

    async def count(stream, text):
        sizes.append(len(text))

    ctx, _ = a_context(tmp_path, emit=count, limits=Limits(output_bytes=MIB))
    text = "head -c 100000000 /dev/zero | tr '\\0' x; echo end >&2; exit 5"
    tracemalloc.start()
    outcome = await ctx.run_process(["bash", "-c", text])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert outcome.exit_code == 5, "the process was read to its end"
    assert (outcome.stdout_truncated, outcome.stderr_truncated) == (True, False)
    assert sum(sizes) == MIB + len("end\n")
    assert max(sizes) <= 65_536
    assert peak < 4 * MIB


async def test_an_output_of_exactly_the_cap_is_not_truncated(tmp_path):
    ctx, printed = a_context(tmp_path, limits=Limits(output_bytes=10))
    assert not (await ctx.run_process(["printf", "0123456789"])).truncated
    assert printed.stdout == "0123456789"
    ctx, printed = a_context(tmp_path, limits=Limits(output_bytes=10))
    assert (await ctx.run_process(["printf", "0123456789a"])).stdout_truncated
    assert printed.stdout == "0123456789"


async def test_the_environment_holds_nothing_of_ours(tmp_path, monkeypatch):
    monkeypatch.setenv("MONGO__PASSWORD", "hunter2")
    outcome, printed = await bash("env", tmp_path, env={"MINE": "1"})
    assert outcome.status == "completed"
    names = {line.split("=")[0] for line in printed.stdout.splitlines()}
    allowed = {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "MINE", "CADENZA_OUTPUT"}
    assert names - {"_", "SHLVL", "PWD", "OLDPWD", "CADENZA_MARK"} <= allowed
    assert f"HOME={tmp_path}\n" in printed.stdout


async def test_secrets_are_masked_on_the_way_however_they_are_written(tmp_path):
    ctx, printed = a_context(tmp_path, redactor=Redactor(["s3cr3t-value"]))
    text = "printf 's3cr3t'; sleep 0.2; printf -- '-value\\n'; printf s3cr3t-value | base64"
    outcome = await ctx.run_process(["bash", "-c", text])
    assert outcome.status == "completed"
    assert "s3cr3t" not in printed.stdout
    assert printed.stdout.count("[redacted]") == 2


async def test_outputs_come_from_the_file(tmp_path):
    text = """echo '{"a": 1, "b": []}' >> $CADENZA_OUTPUT; echo '{"a": 2}' >> $CADENZA_OUTPUT"""
    outcome, _ = await bash(text, tmp_path)
    assert outcome.outputs == {"a": 2, "b": []}


async def test_an_invalid_output_file_fails_the_step_and_names_the_line(tmp_path):
    outcome, _ = await bash("printf '{\"a\":1}\\n\\nnope\\n' > $CADENZA_OUTPUT", tmp_path)
    assert (outcome.status, outcome.reason) == ("failed", "invalid_output")
    assert "line 3" in outcome.error
    outcome, _ = await bash("echo nope > $CADENZA_OUTPUT; exit 3", tmp_path)
    assert outcome.reason == "nonzero_exit", "the exit code is the better reason"


async def test_samples_and_totals_cover_the_whole_group(tmp_path):
    samples = []

    async def keep(sample):
        samples.append(sample)

    eater = f"{sys.executable} -c 'b = bytearray(60_000_000); [0 for _ in range(10**7)]; import time; time.sleep(0.5)'"
    ctx, _ = a_context(tmp_path, on_sample=keep)
    outcome = await ctx.run_process(["bash", "-c", f"{eater} & wait"])
    assert outcome.status == "completed"
    assert samples
    assert max(sample.memory_usage_mb for sample in samples) > 55
    assert outcome.peak_memory_mb > 55
    assert outcome.mean_cpu_percent > 1
    assert samples[0].network_bytes_sent is None
    assert samples[-1].active_threads >= 2


async def test_a_sample_receiver_that_fails_or_hangs_changes_nothing(tmp_path):
    async def broken(sample):
        raise RuntimeError("no database")

    ctx, _ = a_context(tmp_path, on_sample=broken)
    assert (await ctx.run_process(["sleep", "0.5"])).status == "completed"


async def test_a_log_sink_that_fails_ends_the_process_and_is_heard(tmp_path):
    async def full(stream, text):
        raise OSError("disk full")

    ctx, _ = a_context(tmp_path, emit=full)
    with pytest.raises(OSError, match="disk full"):
        await ctx.run_process(["bash", "-c", "echo $$ > pid; echo x; sleep 60"])
    await until(lambda: not alive(int((tmp_path / "pid").read_text())), 1)


async def test_limits_bind(tmp_path):
    ctx, printed = a_context(tmp_path, limits=Limits(open_files=32, memory_mb=256, file_size_mb=1))
    outcome = await ctx.run_process(["bash", "-c", "ulimit -n; ulimit -v; ulimit -f"])
    assert outcome.status == "completed"
    assert printed.stdout.split() == ["32", str(256 * 1024), "1024"]
    ctx, _ = a_context(tmp_path, limits=Limits(file_size_mb=1))
    outcome = await ctx.run_process(["head", "-c", "5000000", "/dev/zero"])
    assert outcome.status == "completed", "pipes are not files"
    ctx, _ = a_context(tmp_path, limits=Limits(cpu_seconds=1))
    outcome = await ctx.run_process(["bash", "-c", "while :; do :; done"])
    assert outcome.reason == "cpu_limit"


async def test_two_hundred_processes_at_once(tmp_path):
    runner = LocalProcessRunner()
    contexts = [a_context(tmp_path, processes=runner) for _ in range(200)]
    before = len(list(Path("/proc/self/fd").iterdir()))
    started = time.monotonic()
    outcomes = await asyncio.gather(
        *(
            ctx.run_process(["bash", "-c", f"sleep 0.5; echo {n}"])
            for n, (ctx, _) in enumerate(contexts)
        )
    )
    assert {outcome.status for outcome in outcomes} == {"completed"}
    assert [printed.stdout for _, printed in contexts] == [f"{n}\n" for n in range(200)]
    assert time.monotonic() - started < 20
    assert len(list(Path("/proc/self/fd").iterdir())) == before, "every descriptor was given back"
