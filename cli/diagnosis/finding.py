"""One thing that was looked at."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`note`: good to know, or it is not needed here. `problem`: something that is needed is broken; `fix` says how to
    mend it, in one sentence.
    """

    what: str
    level: Level
    text: str
    fix: str = ""


def ok(what: str, text: str) -> Finding:
    return Finding(what, "ok", text)


def note(what: str, text: str, fix: str = "") -> Finding:
    return Finding(what, "note", text, fix)


def problem(what: str, text: str, fix: str) -> Finding:
    return Finding(what, "problem", text, fix)


def trouble(what: str, text: str, fix: str, *, required: bool) -> Finding:
    """A problem where it is needed, else a note."""
    return problem(what, text, fix) if required else note(what, text, fix)
