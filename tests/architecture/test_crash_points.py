"""Every crash point of the code is stopped at by a test, and every point that a test knows is in the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.promises.crash_points.table import CHAINS, ELSEWHERE

ROOT = Path(__file__).resolve().parents[2]
KNOWN = {point.name for chain in CHAINS.values() for point in chain} | set(ELSEWHERE)


def patterns() -> Iterator[tuple[str, str]]:
    """Place and name of every `crash.point(…)`; what is filled in at run time is a wildcard."""
    for top in ("shared", "services"):
        for path in sorted((ROOT / top).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "crash.point":
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", _pattern(node.args[0])


def _pattern(argument: ast.expr) -> str:
    parts = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
    return "".join(
        re.escape(str(part.value)) if isinstance(part, ast.Constant) else r"\w+" for part in parts
    )


def test_every_point_of_the_code_is_stopped_at():
    forgotten = [
        f"{place} {pattern}"
        for place, pattern in patterns()
        if not any(re.fullmatch(pattern, name) for name in KNOWN)
    ]
    assert forgotten == []


def test_every_known_point_is_in_the_code():
    code = [pattern for _, pattern in patterns()]
    assert sorted(n for n in KNOWN if not any(re.fullmatch(one, n) for one in code)) == []


def test_every_collection_of_the_group_commit_is_stopped_at():
    """A name with a wildcard is one point for each queue."""
    for when in ("before", "after"):
        for collection in ("executions", "execution_steps", "extractions", "scans"):
            assert f"group_commit.{when}.{collection}" in KNOWN


def test_a_point_of_another_test_is_named_there():
    for name, place in ELSEWHERE.items():
        assert f'"{name}"' in (ROOT / place).read_text(), f"{place} does not stop at {name}"


def test_no_point_is_named_twice():
    names = [point.name for chain in CHAINS.values() for point in chain] + list(ELSEWHERE)
    assert sorted(names) == sorted(set(names))
    places = [name for _, name in patterns()]
    assert sorted(places) == sorted(set(places)), "one name, one place"
