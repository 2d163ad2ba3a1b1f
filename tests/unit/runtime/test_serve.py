"""Parts start in order, stop in reverse, and a process that cannot start says why."""

import asyncio
import os
import signal

import pytest
import structlog

from shared.errors import ConfigurationError, StorageUnavailable
from shared.runtime import Health, run, serve
from shared.settings import RuntimeSettings

SETTINGS = RuntimeSettings(drain_seconds=5)


class Part:
    def __init__(self, name, diary, *, on_start=None, on_stop=None):
        self.name = name
        self.diary = diary
        self.on_start = on_start
        self.on_stop = on_stop

    async def start(self):
        self.diary.append(f"start {self.name}")
        if self.on_start:
            await self.on_start()

    async def stop(self):
        self.diary.append(f"stop {self.name}")
        if self.on_stop:
            await self.on_stop()


def signals(number=signal.SIGTERM):
    async def send():
        os.kill(os.getpid(), number)

    return send


def fails(error):
    async def fail():
        raise error

    return fail


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_starts_in_order_and_stops_in_reverse(number):
    diary = []
    parts = [Part("a", diary), Part("b", diary), Part("c", diary)]
    asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), number)
    assert await serve(parts, health=Health(), settings=SETTINGS) == 0
    assert diary == ["start a", "start b", "start c", "stop c", "stop b", "stop a"]


async def test_readiness_is_off_before_anything_stops():
    diary, health = [], Health()
    seen = {}

    async def look_at_start():
        seen["start"] = (await health.ready())["process"]

    async def look_at_stop():
        seen["stop"] = (await health.ready())["process"]

    async def look_then_signal():
        await asyncio.sleep(0.05)
        seen["running"] = (await health.ready())["process"]
        os.kill(os.getpid(), signal.SIGTERM)

    watcher = asyncio.create_task(look_then_signal())
    part = Part("a", diary, on_start=look_at_start, on_stop=look_at_stop)
    assert await serve([part], health=health, settings=SETTINGS) == 0
    await watcher
    assert seen == {"start": "starting", "running": "ok", "stop": "draining"}


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (
            ConfigurationError("port 8080 is taken; set HTTP__PORT"),
            2,
            "port 8080 is taken; set HTTP__PORT",
        ),
        (StorageUnavailable("MongoDB does not answer"), 1, "MongoDB does not answer"),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
    ],
)
async def test_a_failed_start_stops_what_was_started_and_says_why(capsys, error, code, sentence):
    diary = []
    parts = [Part("a", diary), Part("b", diary, on_start=fails(error)), Part("c", diary)]
    assert await serve(parts, health=Health(), settings=SETTINGS) == code
    assert diary == ["start a", "start b", "stop b", "stop a"]
    printed = capsys.readouterr().err
    assert "error: b did not start: " in printed
    assert sentence in printed
    assert "Traceback" not in printed


async def test_a_signal_during_the_start_ends_it():
    diary = []

    async def hang():
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(60)

    parts = [Part("a", diary), Part("b", diary, on_start=hang), Part("c", diary)]
    async with asyncio.timeout(5):
        assert await serve(parts, health=Health(), settings=SETTINGS) == 0
    assert diary == ["start a", "start b", "stop b", "stop a"]


async def test_a_drain_that_takes_too_long_is_named_and_the_rest_still_stops():
    diary = []

    async def hang():
        await asyncio.sleep(60)

    parts = [
        Part("a", diary),
        Part("slow", diary, on_stop=hang),
        Part("c", diary, on_start=signals()),
    ]
    settings = RuntimeSettings(drain_seconds=0.2)
    with structlog.testing.capture_logs() as logs:
        async with asyncio.timeout(5):
            assert await serve(parts, health=Health(), settings=settings) == 0
    assert diary[-3:] == ["stop c", "stop slow", "stop a"]
    [late] = [line for line in logs if line["event"] == "runtime.drain_timed_out"]
    assert (late["part"], late["log_level"]) == ("slow", "warning")


async def test_a_part_that_fails_to_stop_does_not_keep_the_others_running():
    diary = []
    parts = [
        Part("a", diary),
        Part("b", diary, on_start=signals(), on_stop=fails(RuntimeError("no"))),
    ]
    with structlog.testing.capture_logs() as logs:
        assert await serve(parts, health=Health(), settings=SETTINGS) == 0
    assert diary[-1] == "stop a"
    assert "runtime.stop_failed" in [line["event"] for line in logs]


@pytest.mark.parametrize("uvloop", [False, True])
def test_run_turns_a_wrong_setting_into_a_sentence(capsys, uvloop):
    async def main():
        raise ConfigurationError("wrong settings: MONGO__URI: not an address")

    assert run(main, uvloop=uvloop) == 2
    assert capsys.readouterr().err == "error: wrong settings: MONGO__URI: not an address\n"


@pytest.mark.parametrize("uvloop", [False, True])
def test_run_returns_the_exit_code_of_a_signalled_service(uvloop):
    diary = []

    async def main():
        parts = [Part("a", diary, on_start=signals(signal.SIGINT))]
        return await serve(parts, health=Health(), settings=SETTINGS)

    assert run(main, uvloop=uvloop) == 0
    assert diary == ["start a", "stop a"]
