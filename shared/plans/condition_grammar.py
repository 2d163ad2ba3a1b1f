"""How conditions are written: text in, a tree out. The grammar stands in `conditions.py`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.errors import PermanentError
from shared.plans.mistakes import hint, shown
from shared.plans.references import BadReference, Reference, parse

MAX_LENGTH = 1_024
MAX_DEPTH = 32

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>'[^']*'|"[^"]*")
    | (?P<sign>==|!=|<=|>=|<|>|&&|\|\||!|\(|\)|\[|\]|,)
    | (?P<word>[A-Za-z0-9_+\-][A-Za-z0-9_.+\-]*)
    | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_STATE = re.compile(r"steps\.([A-Za-z0-9_][A-Za-z0-9_.\-]*)\.(status|reason)")
_CONSTANTS: Mapping[str, Any] = {"true": True, "false": False, "null": None}
_SIGNS = {"&&": "and", "||": "or", "!": "not"}
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">=", "in", "not in"})
_ROOTS = ("steps", "run", "inputs", "input", "row")


class BadCondition(PermanentError):
    """A condition cannot be read; says where."""

    code = "bad_condition"


@dataclass(frozen=True, slots=True)
class Constant:
    value: Any


@dataclass(frozen=True, slots=True)
class Value:
    """A reference that a step could make as well."""

    reference: Reference


@dataclass(frozen=True, slots=True)
class State:
    """`status` or `reason` of a step that has ended; of the run so far when `step` is None."""

    step: str | None
    part: str
    text: str


@dataclass(frozen=True, slots=True)
class Listed:
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Negation:
    inner: "Node"


@dataclass(frozen=True, slots=True)
class Joined:
    """All of them (`and`) or any of them (`or`)."""

    word: str
    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    sign: str
    left: "Node"
    right: "Node"


Node = Constant | Value | State | Listed | Negation | Joined | Comparison


def read_tree(text: str) -> Node:
    """The tree of a condition. Raises BadCondition."""
    inner = text.strip()
    if inner.startswith("${{") and inner.endswith("}}"):
        inner = inner[3:-2]
    if len(inner) > MAX_LENGTH:
        raise BadCondition(f"a condition may have {MAX_LENGTH} characters")
    if not inner.strip():
        raise BadCondition("the condition is empty")
    return _Reader(inner).whole()


class _Reader:
    """Reads one condition by recursive descent."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._next = 0
        self._depth = 0

    def whole(self) -> Node:
        node = self._joined("or")
        if self._peek() is not None:
            raise self._unexpected("'and', 'or' or the end")
        return node

    def _joined(self, word: str) -> Node:
        parts = [self._part(word)]
        while self._takes(word):
            parts.append(self._part(word))
        return parts[0] if len(parts) == 1 else Joined(word, tuple(parts))

    def _part(self, word: str) -> Node:
        return self._joined("and") if word == "or" else self._comparison()

    def _comparison(self) -> Node:
        if self._takes("not"):
            with _Deeper(self):
                return Negation(self._comparison())
        left = self._operand()
        sign = self._sign()
        return left if sign is None else Comparison(sign, left, self._operand())

    def _sign(self) -> str | None:
        if self._peek() == "not" and self._peek(1) == "in":
            self._next += 2
            return "not in"
        sign = self._peek()
        if sign not in _COMPARISONS:
            return None
        self._next += 1
        return sign

    def _operand(self) -> Node:
        if self._takes("("):
            with _Deeper(self):
                inner = self._joined("or")
            self._must(")")
            return inner
        if self._takes("["):
            return self._listed()
        kind, text, _ = self._tokens[min(self._next, len(self._tokens) - 1)]
        if self._peek() is None or kind == "sign" or text in {"and", "or", "in"}:
            raise self._unexpected("a value")
        self._next += 1
        return Constant(text[1:-1]) if kind == "text" else _word(text)

    def _listed(self) -> Node:
        items: list[Node] = []
        with _Deeper(self):
            while not self._takes("]"):
                if items:
                    self._must(",")
                items.append(self._operand())
        return Listed(tuple(items))

    def _peek(self, ahead: int = 0) -> str | None:
        place = self._next + ahead
        if place >= len(self._tokens):
            return None
        kind, text, _ = self._tokens[place]
        return None if kind == "end" else ("'" if kind == "text" else text)

    def _takes(self, wanted: str) -> bool:
        if self._peek() != wanted:
            return False
        self._next += 1
        return True

    def _must(self, wanted: str) -> None:
        if not self._takes(wanted):
            raise self._unexpected(f"'{wanted}'")

    def _unexpected(self, wanted: str) -> BadCondition:
        kind, text, place = self._tokens[min(self._next, len(self._tokens) - 1)]
        found = "its end" if kind == "end" else f"'{shown(text)}'"
        assigned = "; write '==' to compare" if text == "=" else ""
        return BadCondition(
            f"cannot read the condition: at character {place + 1} there is {found}, "
            f"expected {wanted}{assigned}"
        )

    def deepen(self, by: int) -> None:
        self._depth += by
        if self._depth > MAX_DEPTH:
            raise BadCondition(f"the condition has more than {MAX_DEPTH} levels")


class _Deeper:
    def __init__(self, reader: _Reader) -> None:
        self._reader = reader

    def __enter__(self) -> None:
        self._reader.deepen(1)

    def __exit__(self, *_: object) -> None:
        self._reader.deepen(-1)


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """Kind, text and place of each; the last is the end."""
    place = 0
    while True:
        found = _TOKEN.match(text, place)
        if found is None or found.lastgroup is None:
            at = place + len(text[place:]) - len(text[place:].lstrip())
            more = "; write '==' to compare" if text[at] == "=" else ""
            raise BadCondition(
                f"cannot read the condition: '{shown(text[at])}' at character {at + 1} "
                f"cannot stand here{more}"
            )
        kind, token = found.lastgroup, found[found.lastgroup]
        yield kind, _SIGNS.get(token, token) if kind == "sign" else token, found.start(kind)
        if kind == "end":
            return
        place = found.end()


def _word(text: str) -> Node:
    if text in _CONSTANTS:
        return Constant(_CONSTANTS[text])
    if _NUMBER.fullmatch(text):
        return Constant(int(text) if text.lstrip("+-").isdigit() else float(text))
    if text == "run.status":
        return State(None, "status", text)
    if found := _STATE.fullmatch(text):
        return State(found[1], found[2], text)
    return _reference(text)


def _reference(text: str) -> Node:
    try:
        return Value(parse(text))
    except BadReference:
        pass
    root, dot, rest = text.partition(".")
    if not dot:
        raise BadCondition(f"'{shown(text)}' is neither a value nor a reference; texts have quotes")
    if root == "run":
        raise BadCondition(f"of the run only 'run.status' is known, not '{shown(text)}'")
    if root == "steps":
        near = hint(rest.rsplit(".", 1)[-1], ("status", "reason", "outputs"))
        known = (
            "of a step there are steps.NAME.status, steps.NAME.reason and steps.NAME.outputs.KEY"
        )
        raise BadCondition(f"cannot read '{shown(text)}'; {known}{near}")
    raise BadCondition(f"there is no '{shown(root)}'{hint(root, _ROOTS)}")
