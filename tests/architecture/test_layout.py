"""Rules about the repository itself: sizes, names, anatomy, registries."""

import ast
import re
import statistics
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = [
    path
    for top in ("shared", "services", "cli", "sandbox")
    for path in sorted((ROOT / top).rglob("*.py"))
]
SERVICES = ("gateway", "executor", "extractor", "proxy", "scanner")
FORBIDDEN_NAMES = {"utils", "helpers", "common", "manager", "core", "misc"}


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def functions(path: Path) -> list[tuple[int, str]]:
    return [
        (
            (node.end_lineno or node.lineno) - node.lineno + 1,
            f"{path.relative_to(ROOT)}:{node.name}",
        )
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def test_files_stay_small():
    sizes = {str(path.relative_to(ROOT)): lines(path) for path in SOURCE}
    too_long = {name: size for name, size in sizes.items() if size > 400}
    assert not too_long, f"over 400 lines: {too_long}"
    filled = [size for size in sizes.values() if size > 3]
    assert statistics.median(filled) <= 120


def test_functions_stay_small():
    found = [row for path in SOURCE for row in functions(path)]
    too_long = [row for row in found if row[0] > 60]
    assert not too_long, f"over 60 lines: {too_long}"
    assert statistics.median(length for length, _ in found) <= 10


def test_command_plug_ins_stay_small():
    for path in (ROOT / "services/executor/commands").glob("*.py"):
        assert lines(path) <= 250, path


@pytest.mark.parametrize("path", SOURCE, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_why_it_exists(path: Path):
    if path.read_text().strip():
        assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"


def test_no_module_is_named_after_nothing():
    assert not [path for path in SOURCE if path.stem in FORBIDDEN_NAMES]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_the_agreed_anatomy(service: str):
    folder = ROOT / "services" / service
    for name in ("README.md", "__init__.py", "__main__.py", "bootstrap.py", "settings.py"):
        assert (folder / name).is_file(), f"services/{service}/{name} is missing"
    for name in ("ports.py", "models.py", "errors.py", "repository.py"):
        assert (folder / name).is_file() or (folder / name[:-3]).is_dir(), (
            f"services/{service}/{name} is missing"
        )


def test_the_environment_is_read_in_settings_only():
    readers = [
        str(path.relative_to(ROOT))
        for path in SOURCE
        if re.search(r"os\.(environ|getenv)", path.read_text())
        and path.name not in ("settings.py", "crash.py", "config.py")
        and not str(path.relative_to(ROOT)).startswith(
            ("sandbox/", "cli/", "services/executor/processes")
        )
    ]
    assert readers == []


def test_wall_time_comes_from_the_clock():
    readers = [
        str(path.relative_to(ROOT))
        for path in SOURCE
        if re.search(r"datetime\.(now|utcnow)\(", path.read_text()) and path.name != "clock.py"
    ]
    assert readers == []


def test_nothing_is_left_for_later():
    found = subprocess.run(
        [
            "git",
            "grep",
            "-nE",
            r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError",
            "--",
            "*.py",
            ":!tests",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    assert found == ""
