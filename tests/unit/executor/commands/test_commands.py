"""Every command type with real processes, and the registry that lists them."""

import sys
from pathlib import Path

import pytest

from services.executor.commands import base, reference
from services.executor.commands.registry import build_registry
from services.executor.commands.script import shebang
from shared.errors import NotFound
from shared.security.redaction import Redactor
from tests.unit.executor.processes.contexts import a_context

REGISTRY = build_registry()


async def run(folder, type_, **arguments):
    ctx, printed = a_context(folder, timeout=20)
    outcome = await REGISTRY.get(type_).execute({"type": type_, **arguments}, ctx)
    return outcome, printed


async def test_shell(tmp_path):
    outcome, printed = await run(tmp_path, "shell", command="echo ${BASH_VERSION:+bash}; pwd")
    assert outcome.status == "completed"
    assert printed.stdout == f"bash\n{tmp_path}\n"
    outcome, printed = await run(tmp_path, "shell", command="echo $0", shell="sh")
    assert printed.stdout == "sh\n"


async def test_exec_hands_arguments_over_untouched(tmp_path):
    outcome, printed = await run(
        tmp_path, "exec", program="printf", args=["%s\n", "a b", "$HOME", "*", ""]
    )
    assert outcome.status == "completed"
    assert printed.stdout == "a b\n$HOME\n*\n\n"
    outcome, _ = await run(tmp_path, "exec", program="no-such-program")
    assert (outcome.status, outcome.reason) == ("failed", "program_missing")


async def test_exec_finds_relative_programs_in_the_working_directory(tmp_path):
    (tmp_path / "tool").write_text("#!/bin/sh\necho tool\n")
    (tmp_path / "tool").chmod(0o755)
    _, printed = await run(tmp_path, "exec", program="./tool")
    assert printed.stdout == "tool\n"


@pytest.mark.parametrize(
    ("source", "interpreter", "out"),
    [
        ("import sys; print('py', *sys.argv[1:])", "python", "py x y\n"),
        ("#!/usr/bin/env python3\nimport sys; print(*sys.argv[1:])", None, "x y\n"),
        ("echo ${BASH_VERSION:+bash} $*", None, "bash x y\n"),
        ("#!/bin/sh\necho $1", None, "x\n"),
        ("echo $2 'ü'", "sh", "y ü\n"),
    ],
)
async def test_inline_scripts(tmp_path, source, interpreter, out):
    before = set(Path("/tmp").glob("cadenza-script-*"))
    outcome, printed = await run(
        tmp_path, "script", source=source, interpreter=interpreter, args=["x", "y"]
    )
    assert (outcome.status, printed.stdout) == ("completed", out), printed.stderr
    assert list(tmp_path.glob("*script*")) == [], "nothing is left in the working directory"
    assert set(Path("/tmp").glob("cadenza-script-*")) <= before


async def test_script_files_need_not_be_executable(tmp_path):
    (tmp_path / "s.py").write_text(f"#!{sys.executable} -u\nprint('here')\n")
    _, printed = await run(tmp_path, "script", path="s.py")
    assert printed.stdout == "here\n"
    outcome, _ = await run(tmp_path, "script", path="gone.sh")
    assert (outcome.status, outcome.reason) == ("failed", "script_missing")


async def test_noop_gives_its_outputs(tmp_path):
    outcome, _ = await run(tmp_path, "noop", outputs={"a": 1})
    assert (outcome.status, outcome.outputs) == ("completed", {"a": 1})


async def test_secrets_are_masked_in_outputs_whatever_made_them_and_data_stays_as_it_is(tmp_path):
    ctx, _ = a_context(tmp_path, redactor=Redactor(["hidden-thing"]))
    outputs = {"a": ["is hidden-thing"], "token": "5"}
    outcome = await REGISTRY.get("noop").execute({"outputs": outputs}, ctx)
    assert outcome.outputs == {"a": ["is [redacted]"], "token": "5"}
    text = """echo '{"b": "hidden-thing"}' > $CADENZA_OUTPUT"""
    outcome = await REGISTRY.get("shell").execute({"command": text}, ctx)
    assert outcome.outputs == {"b": "[redacted]"}


@pytest.mark.parametrize(
    ("type_", "arguments"),
    [
        ("shell", {}),
        ("shell", {"command": ""}),
        ("shell", {"command": "  "}),
        ("shell", {"command": "x", "shell": "fish"}),
        ("shell", {"command": "x", "typo": 1}),
        ("exec", {"program": ""}),
        ("exec", {"program": "x", "args": [1]}),
        ("script", {}),
        ("script", {"path": "x", "source": "y"}),
        ("script", {"source": "x", "interpreter": "perl"}),
    ],
)
async def test_arguments_that_are_wrong_only_now_end_the_step(tmp_path, type_, arguments):
    outcome, _ = await run(tmp_path, type_, **arguments)
    assert (outcome.status, outcome.reason) == ("failed", "invalid_arguments")
    assert outcome.error


def test_an_unknown_type_names_the_nearest():
    with pytest.raises(NotFound, match="did you mean 'shell'"):
        REGISTRY.get("shel")


def test_every_file_is_listed():
    folder = Path(base.__file__).parent
    files = {path.stem for path in folder.glob("*.py")}
    frame = {
        "__init__",
        "base",
        "capture",
        "children",
        "reasons",
        "reasons_of_commands",
        "reasons_page",
        "outcome",
        "patience",
        "reach",
        "registry",
        "reference",
    }
    assert files - frame == set(REGISTRY.names())


def test_schemas_and_pages_are_current(capsys):
    assert reference.main(["--check"]) == 0, capsys.readouterr().out


def test_check_says_what_is_out_of_date(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    assert reference.main(["--check"]) == 1
    assert "command_types.json" in capsys.readouterr().out
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    (tmp_path / "docs/reference/commands/noop.md").write_text("edited")
    assert reference.main(["--check"]) == 1


def test_first_lines(tmp_path):
    for text, start in [
        (b"#!/bin/sh\n", ["/bin/sh"]),
        (b"#! /usr/bin/env -S python3 -u\n", ["/usr/bin/env", "-S python3 -u"]),
        (b"echo\n", []),
        (b"", []),
        (b"#!\n", []),
        (b"\xff\xfe", []),
    ]:
        (tmp_path / "s").write_bytes(text)
        assert shebang(tmp_path / "s") == start
