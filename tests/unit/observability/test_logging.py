"""Everything that is logged, by us or by a library, goes through one pipe and tells no secret."""

import io
import json
import logging
import warnings

import pytest
import structlog

from shared.observability import tracing
from shared.observability.logging import configure, get_logger
from shared.settings import TelemetrySettings

SECRET = "correct-horse-battery"


@pytest.fixture(autouse=True)
def restored():
    """The process's logging, put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:], root.level = handlers, level


def set_up(**settings) -> io.StringIO:
    out = io.StringIO()
    configure(TelemetrySettings(**settings), "executor", secrets=[SECRET], stream=out)
    return out


def lines(out: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_carries_time_level_service_context_and_fields():
    out = set_up()
    structlog.contextvars.bind_contextvars(tenant="demo", execution_id="e1")
    get_logger("x").info("execution.finished", status="completed", steps=3)
    [line] = lines(out)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "execution.finished",
        "level": "info",
        "service": "executor",
        "tenant": "demo",
        "execution_id": "e1",
        "status": "completed",
        "steps": 3,
    }


def test_lines_inside_a_span_carry_its_trace():
    out = set_up()
    with tracing.span("work"):
        expected = tracing.trace_id()
        get_logger().info("inside")
    get_logger().info("outside")
    inside, outside = lines(out)
    assert inside["trace_id"] == expected
    assert "trace_id" not in outside


def test_libraries_come_through_the_same_pipe():
    out = set_up()
    logging.getLogger("some.library").warning("lost %s of %d", "one", 3)
    [line] = lines(out)
    assert (line["event"], line["level"], line["service"]) == (
        "lost one of 3",
        "warning",
        "executor",
    )
    assert line["logger"] == "some.library"


def test_talkative_libraries_are_heard_from_warning_on():
    out = set_up()
    for name in ("aiokafka.consumer.group_coordinator", "uvicorn.error", "pymongo.command"):
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("trouble")
    assert [line["event"] for line in lines(out)] == ["trouble"] * 3


def test_warnings_are_log_lines():
    out = set_up()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("this will go away", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    assert "this will go away" in lines(out)[0]["event"]


def test_the_level_is_that_of_the_settings():
    out = set_up(log_level="WARNING")
    get_logger().info("quiet")
    logging.getLogger("any").info("quiet")
    get_logger().warning("loud")
    assert [line["event"] for line in lines(out)] == ["loud"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_secrets_are_masked_wherever_they_stand(log_format):
    out = set_up(log_format=log_format)
    log = get_logger()
    structlog.contextvars.bind_contextvars(bound=f"x {SECRET}")
    log.info("a.b", text=f"in {SECRET} text", nested={"list": [SECRET], "password": "other"})
    log.info("a.b", odd=(SECRET, ValueError(SECRET)), raw=SECRET.encode())
    logging.getLogger("library").error("url with %s", SECRET)
    for logger in (log, logging.getLogger("library")):
        try:
            raise RuntimeError(f"no entry with {SECRET}")
        except RuntimeError:
            logger.exception("failed")
    written = out.getvalue()
    assert SECRET not in written
    assert "other" not in written
    assert written.count("[redacted]") >= 8
    assert written.count("RuntimeError") >= 2


def test_an_exception_is_a_field_of_its_line():
    out = set_up()
    try:
        raise KeyError("k")
    except KeyError:
        get_logger().exception("it.failed", id=1)
    [line] = lines(out)
    assert "Traceback" in line["exception"]
    assert line["level"] == "error"


def test_what_json_cannot_hold_does_not_break_a_line():
    out = set_up()
    get_logger().info("odd", value=object(), surrogate="\ud800", when=structlog, raw=b"\xff")
    assert lines(out)[0]["event"] == "odd"


def test_console_lines_are_for_people():
    out = set_up(log_format="console")
    get_logger().info("execution.finished", status="completed")
    assert "execution.finished" in out.getvalue()
    assert "status=completed" in out.getvalue()
    assert "\x1b[" not in out.getvalue()
