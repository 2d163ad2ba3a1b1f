"""Ready-made handlers."""

import io
import json

from services.executor.library import (
    Completed,
    ConsoleHandler,
    ExecutionConfig,
    ExecutionEngine,
    FilteredHandler,
    JsonLinesHandler,
    MetricsHandler,
    MultiHandler,
    RecordingHandler,
)


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
