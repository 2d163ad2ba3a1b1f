"""Every reason word that the code can give is listed, with a meaning and an advice."""

import ast
from collections.abc import Iterator
from pathlib import Path

from services.executor.commands.reasons import GROUPS, REASONS
from shared.plans import skips

ROOT = Path(__file__).parents[2]
PLACES = ("services/executor", "shared/work")
ERRORS = (
    "shared/errors.py",
    "shared/objects/ports.py",
    "shared/plans/references.py",
    "shared/plans/conditions.py",
    "services/executor/errors.py",
)
REASON_AT = {
    "failed": 0,
    "StartFailed": 0,
    "Outcome": 1,
    "StepEnd": 1,
    "RunEnd": 1,
    "RunResult": 1,
    "SkippedStep": 2,
    "_skip": 2,
    "Ended": 0,
}
"""Where the calls that make an end take its reason."""
VERDICTS = {"nonzero_exit", "signal"}
"""Of a process, beside a sentence that names the number."""
ENDED_BADLY = {"failed", "timed_out", "cancelled", "skipped"}


def words(tree: ast.AST) -> Iterator[str]:
    """Reason words in a module: in calls that make ends, in tuples `(status, reason, …)`, in constants."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _of_call(node)
        elif isinstance(node, ast.Tuple) and len(node.elts) in {2, 3}:
            first, second = (_text(one) for one in node.elts[:2])
            if first in VERDICTS and second is None:
                yield str(first)
            if first in ENDED_BADLY and second and second not in ENDED_BADLY | {"completed"}:
                yield second


def _of_call(node: ast.Call) -> Iterator[str]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name not in REASON_AT:
        return
    place = REASON_AT[name]
    given = [*node.args[place : place + 1]]
    given += [kw.value for kw in node.keywords if kw.arg in {"reason", "code"} and name != "failed"]
    for one in given:
        if word := _text(one):
            yield word


def _text(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def used() -> dict[str, str]:
    """Each word, and a file that uses it."""
    found: dict[str, str] = {}
    for place in PLACES:
        for path in sorted((ROOT / place).rglob("*.py")):
            for word in words(ast.parse(path.read_text(encoding="utf-8"))):
                found.setdefault(word, str(path.relative_to(ROOT)))
    return found


def codes() -> dict[str, str]:
    """Codes of errors that become the reason of a step or run."""
    found = {}
    for name in ERRORS:
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                for line in node.body:
                    if (
                        isinstance(line, ast.Assign)
                        and getattr(line.targets[0], "id", "") == "code"
                    ):
                        found[str(_text(line.value))] = name
    return found


def constants() -> set[str]:
    return {
        value for name, value in vars(skips).items() if name.isupper() and isinstance(value, str)
    }


def test_every_reason_is_listed():
    missing = {word: place for word, place in {**codes(), **used()}.items() if word not in REASONS}
    assert not missing, f"add them to services/executor/commands/reasons.py: {missing}"
    assert constants()
    assert constants() <= set(REASONS)


def test_the_words_are_found_at_all():
    found = used()
    assert {"nonzero_exit", "run_timeout", "program_missing", "internal_error"} <= set(found)
    assert {"storage_unavailable", "missing_reference", "rejected"} <= set(codes())


def test_each_reason_stands_once_and_speaks():
    assert sum(len(group) for group in GROUPS.values()) == len(REASONS)
    for word, (meaning, advice) in REASONS.items():
        assert word == word.lower() and " " not in word, word
        assert meaning.endswith(".") and advice.endswith("."), word
        assert "|" not in meaning + advice, word
