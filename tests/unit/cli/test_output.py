"""What people read: durations, sizes, server-sent events, live views."""

import io

import pytest
from rich.console import Console

from cli.live import RunView, follow, harmless
from cli.output import duration, short, size
from cli.plans import load_plan, value
from cli.sse import Message, messages


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(None, ""), (0, "0 ms"), (850, "850 ms"), (12_340, "12.3 s"), (245_000, "4 m 05 s"), (7_800_000, "2 h 10 m")],
)  # fmt: skip
def test_durations(milliseconds, text):
    assert duration(milliseconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(None, ""), (812, "812 B"), (4300, "4.2 KiB"), (32_500_000, "31.0 MiB")]
)
def test_sizes(count, text):
    assert size(count) == text


def test_short_is_one_line():
    assert short({"a": 1}) == '{"a": 1}'
    assert short("x\ny " * 50).endswith("…")
    assert short(None) == short({}) == ""
    assert short(0) == "0"


def test_messages_survive_comments_several_data_lines_and_rubbish():
    lines = [
        ": heartbeat", "", "id: 7", "event: step.log", 'data: {"a":', "data: 1}", "",
        "data: not json", "", 'data: {"type": "run.started"}', "", "event: half",
    ]  # fmt: skip
    assert list(messages(lines)) == [
        Message("step.log", {"a": 1}, "7"),
        Message("run.started", {"type": "run.started"}, None),
    ]


def test_inputs_are_json_where_they_are_json():
    assert [value(text) for text in ("3", "true", '{"a": 1}', "text", "1.2.3")] == [
        3, True, {"a": 1}, "text", "1.2.3",
    ]  # fmt: skip


def test_a_script_that_is_not_beside_the_plan_is_left_alone(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text("steps: [{command: {type: script, path: made-by-a-step.sh}}]")
    assert load_plan(path)["steps"][0]["command"] == {"type": "script", "path": "made-by-a-step.sh"}


def test_a_live_view_ends_with_what_the_events_told():
    view = RunView([{"step_id": 1, "step_name": "one", "status": "pending"}])
    told = [
        Message("run.started", {"status": "running"}),
        Message("step.started", {"step_id": 1, "status": "running", "occurred_at": "now"}),
        Message("step.log", {"step_id": 1, "step_name": "one", "data": {"stream": "stderr", "text": "[red]a\nb"}}),
        Message("step.finished", {"step_id": 1, "status": "failed", "reason": "exit_code", "data": {"duration_ms": 5}}),
        Message("step.finished", {"step_id": 99, "status": "failed"}),
        Message("run.finished", {"status": "failed", "data": {"duration_ms": 9}}),
    ]  # fmt: skip
    out = io.StringIO()
    follow(Console(file=out, force_terminal=True, width=100), told, view)
    assert view.status == "failed"
    assert view.duration_ms == 9
    assert view.steps[1]["reason"] == "exit_code"
    assert "[red]a" in out.getvalue()


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        (
            "\x1b]0;title\x07 \x1b]52;c;ZXZpbA==\x1b\\",
            "\\x1b]0;title\\x07 \\x1b]52;c;ZXZpbA==\\x1b\\",
        ),
        ("\x1b[2J\x1b[1;1H \x9b31m \0\x08", "\\x1b[2J\\x1b[1;1H \\x9b31m \\x00\\x08"),
        ("a\u202eb\u2066c", "a\\u202eb\\u2066c"),
        ("[bold]no markup[/bold] \\ \t ü 💡", "[bold]no markup[/bold] \\ \t ü 💡"),
    ],
)
def test_a_log_line_steers_no_terminal(line, shown):
    assert harmless(line).plain == shown


def test_colours_of_a_log_line_are_kept():
    out = io.StringIO()
    terminal = Console(file=out, force_terminal=True, color_system="standard")
    terminal.print(harmless("\x1b[31mred\x1b[0m plain"))
    assert out.getvalue() == "\x1b[31mred\x1b[0m plain\n"
