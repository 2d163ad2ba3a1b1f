"""Ready-made handlers."""

import asyncio
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import UUID

import pytest

from services.executor.library import (
    BufferedHandler,
    Cancelled,
    Completed,
    ConsoleHandler,
    ExecutionConfig,
    ExecutionEngine,
    Failed,
    FilteredHandler,
    HandlerCounts,
    JsonLinesHandler,
    MetricsHandler,
    MultiHandler,
    RecordingHandler,
    WebhookHandler,
)
from services.executor.library.dispatch import Dispatcher
from shared.errors import ConfigurationError


async def test_handlers_work_together(tmp_path):
    out, recorded, metrics = io.StringIO(), RecordingHandler(), MetricsHandler()
    handler = MultiHandler(
        ConsoleHandler(out),
        JsonLinesHandler(tmp_path / "events.jsonl"),
        FilteredHandler(recorded, lambda event: isinstance(event, Completed)),
        metrics,
    )
    async with ExecutionEngine(ExecutionConfig(log_dir=tmp_path), handler) as engine:
        for text in ("echo hello", "exit 1"):
            await engine.wait(await engine.execute({"command": {"type": "shell", "command": text}}))
    assert "hello\n" in out.getvalue()
    assert "[failed]" in out.getvalue()
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    types = [json.loads(line)["event_type"] for line in lines]
    assert types == ["started", "stdout", "completed", "started", "failed"]
    assert [event.result.stdout for event in recorded.events] == ["hello\n"]
    assert (metrics.total, metrics.completed, metrics.failed) == (2, 1, 1)
    assert metrics.mean_seconds > 0


class Hanging:
    """Blocks at the first event until it is let go."""

    def __init__(self):
        self.free = threading.Event()

    def on_event(self, _event):
        self.free.wait(30)


def failure(number=1):
    return Failed(execution_id=str(UUID(int=number)), error="broken", reason="nonzero_exit")


async def soon(check):
    async with asyncio.timeout(10):
        while not check():
            await asyncio.sleep(0.01)


async def test_one_that_hangs_or_raises_delays_no_other_and_is_counted():
    def raising(_event):
        raise ValueError("no")

    hanging, seen = Hanging(), RecordingHandler()
    many = MultiHandler(hanging, raising, seen)
    outer = Dispatcher(many)
    for number in range(50):
        outer.send(failure(number))
    await soon(lambda: len(seen.events) == 50 and many.errors == 50)
    hanging.free.set()
    await outer.close(10)
    assert [(one.name, one.errors, one.dropped) for one in many.counts] == [
        ("Hanging", 0, 0),
        ("raising", 50, 0),
        ("RecordingHandler", 0, 0),
    ]
    assert outer.counts == HandlerCounts("MultiHandler", 50, 0)


async def test_what_a_hanging_handler_never_takes_is_counted_as_dropped():
    hanging = Hanging()
    dispatcher = Dispatcher(hanging)
    for _ in range(10):
        dispatcher.send(failure())
    await soon(lambda: dispatcher._queue.qsize() == 9)
    await dispatcher.close(0.05)
    assert dispatcher.counts.dropped == 9
    hanging.free.set()


async def test_a_closed_dispatcher_can_be_used_again():
    seen = RecordingHandler()
    dispatcher = Dispatcher(seen)
    await dispatcher.close(5)
    for number in range(3):
        dispatcher.send(failure(number))
        await dispatcher.close(5)
    assert len(seen.events) == 3
    assert dispatcher.counts.dropped == 0


async def test_a_buffer_hands_on_full_lists_late_ones_and_the_last():
    lists = []
    buffered = BufferedHandler(lambda events: lists.append(len(events)), size=3, seconds=0.05)
    dispatcher = Dispatcher(buffered)
    for number in range(7):
        dispatcher.send(failure(number))
    await soon(lambda: lists == [3, 3, 1])
    dispatcher.send(failure())
    await dispatcher.close(5)
    assert lists == [3, 3, 1, 1]


async def test_a_buffer_counts_what_its_target_raises():
    def raising(_events):
        raise ValueError("no")

    dispatcher = Dispatcher(BufferedHandler(raising, size=2, seconds=0.01))
    for number in range(3):
        dispatcher.send(failure(number))
    await soon(lambda: dispatcher.counts.errors == 2)
    await dispatcher.close(5)


class Hook(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.bodies.append((self.headers["x-key"], json.loads(body)))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def hook():
    server = HTTPServer(("127.0.0.1", 0), Hook)
    server.bodies, server.status = [], 204
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


async def test_a_webhook_hears_of_failures_only(hook):
    handler = WebhookHandler(f"http://127.0.0.1:{hook.server_port}/", headers={"X-Key": "k"})
    dispatcher = Dispatcher(handler)
    dispatcher.send(Cancelled(execution_id=str(UUID(int=0))))
    dispatcher.send(failure())
    await dispatcher.close(10)
    ((key, body),) = hook.bodies
    assert (key, body["event_type"], body["reason"]) == ("k", "failed", "nonzero_exit")
    hook.status = 500
    dispatcher.send(failure())
    await dispatcher.close(10)
    assert dispatcher.counts.errors == 1


def test_a_webhook_wants_an_address():
    with pytest.raises(ConfigurationError, match="http or https"):
        WebhookHandler("file:///etc/passwd")


async def test_a_handler_that_blocks_never_delays_a_run_of_the_engine(tmp_path):
    hanging = Hanging()
    config = ExecutionConfig(log_dir=tmp_path)
    async with ExecutionEngine(config, hanging) as engine:
        id_ = await engine.execute({"command": {"type": "shell", "command": "seq 1000"}})
        result = await engine.wait(id_, 20)
        assert result.status == "completed"
        (counts,) = engine.handler_counts
        assert counts.name == "Hanging"
        hanging.free.set()
