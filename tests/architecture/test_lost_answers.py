"""Every write to the database has a test in which its answer is lost, it is never sent, or comes late."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.integration.mongo.test_lost_answers import CASES
from tests.integration.work.test_keys_lost_answers import QUEUEING
from tests.promises.lost_answers.executor_writes import EXECUTOR
from tests.promises.lost_answers.test_extractor import EXTRACTOR
from tests.promises.lost_answers.test_gateway import GATEWAY

ROOT = Path(__file__).resolve().parents[2]
WRITES = {
    *("insert_one", "insert_many", "update_one", "update_many", "replace_one", "bulk_write"),
    *("delete_one", "delete_many"),
    *("find_one_and_update", "find_one_and_replace", "find_one_and_delete"),
}
KNOWN = {write.at for chain in (EXECUTOR, GATEWAY, EXTRACTOR) for write in chain} | {
    place for cases in (CASES, QUEUEING) for places in cases.values() for place in places
}


def places() -> Iterator[str]:
    """`file:Class.method` of every call that writes."""
    for top in ("shared", "services"):
        for path in sorted((ROOT / top).rglob("*.py")):
            for names, node in _calls(ast.parse(path.read_text()), ()):
                if _writes(node):
                    yield f"{path.relative_to(ROOT)}:{'.'.join(names)}"


def _calls(node: ast.AST, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], ast.Call]]:
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if isinstance(child, ast.Call):
            yield names, child
        yield from _calls(child, (*names, child.name) if named else names)


def _writes(call: ast.Call) -> bool:
    if not isinstance(call.func, ast.Attribute):
        return False
    first = call.args[0] if call.args else None
    command = isinstance(first, ast.Constant) and first.value in ("update", "insert", "delete")
    return call.func.attr in WRITES or (call.func.attr == "command" and command)


def test_every_write_of_the_code_is_struck():
    assert sorted(set(places()) - KNOWN) == []


def test_every_write_that_is_struck_is_in_the_code():
    assert sorted(KNOWN - set(places())) == []
