"""What people read: durations, sizes, server-sent events, live views."""

import io
import json

import pytest
from rich.console import Console

from cli.__main__ import run
from cli.commands.run import show_result
from cli.live import RunView, follow, harmless, print_lines
from cli.output import HarmlessConsole, duration, json_text, short, size, steps_table, table
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
        Message("step.finished", {"step_id": 1, "status": "failed", "reason": "nonzero_exit", "data": {"duration_ms": 5}}),
        Message("step.finished", {"step_id": 99, "status": "failed"}),
        Message("run.finished", {"status": "failed", "data": {"duration_ms": 9}}),
    ]  # fmt: skip
    out = io.StringIO()
    follow(Console(file=out, force_terminal=True, width=100), told, view)
    assert view.status == "failed"
    assert view.duration_ms == 9
    assert view.steps[1]["reason"] == "nonzero_exit"
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


HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b1m\u202eexe\ud800\rx[/bold][red]\0"


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_that_steers_a_terminal_is_printed(terminal):
    out = io.StringIO()
    console = HarmlessConsole(file=out, force_terminal=terminal, width=200)
    console.print(table(None, ("name",), [[HOSTILE]]))
    console.print(steps_table([{"step_id": 1, "step_name": HOSTILE, "error": HOSTILE}]))
    console.print(HOSTILE, markup=False)
    console.print(HOSTILE.replace("[/bold]", ""))
    print_lines(console, HOSTILE, "stdout", f"{HOSTILE}\n\x1b[31mred")
    printed = out.getvalue()
    for steering in ("\x1b]", "\x1b[2J", "\x07", "\x9b", "\u202e", "\ud800", "\r", "\0"):
        assert steering not in printed
    assert "\\x1b]0;title" in printed
    assert ("\x1b[31m" in printed) is terminal, "colours stay, where there are any"


def test_json_has_every_character_and_steers_nothing():
    text = json_text({HOSTILE: [HOSTILE, "äöü😀"]})
    assert json.loads(text) == {HOSTILE: [HOSTILE, "äöü😀"]}
    assert "äöü😀" in text
    assert not set("\x1b\x07\x9b\u202e\ud800\r\0") & set(text)


def test_lines_are_cut_where_the_step_has_cut_them():
    out = io.StringIO()
    console = HarmlessConsole(file=out, width=200)
    print_lines(console, "s", "stdout", "a\x0bb\u2028c\x85d\r\n\ne\n")
    assert out.getvalue().splitlines() == ["s │ a\\x0bb", "c\\x85d", "s │ ", "s │ e"]


async def test_an_error_with_brackets_is_no_markup(gateway, capsys):
    """It once ended the command with a traceback."""
    run_ = {"execution_id": "r", "status": "failed", "name": "[/bold]", "reason": "[/red]"}
    gateway.answers["GET /v1/executions/r"] = (200, run_)
    for part in ("steps", "artifacts"):
        gateway.answers[f"GET /v1/executions/r/{part}"] = (200, {"items": []})
    assert run(["executions", "show", "r", "--url", gateway.url, "--api-key", "k"]) == 0
    assert "[/bold]" in capsys.readouterr().out
    show_result({**run_, "error": "[/x] failed"}, [])
    assert "[/red] [/x] failed" in capsys.readouterr().err
