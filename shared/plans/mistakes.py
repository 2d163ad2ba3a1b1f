"""How mistakes in a plan are told: a bounded number of them, in a bounded number of words.

Whoever wrote ten thousand mistakes is helped by the first hundred as well, and looking for the nearest name of each
would take minutes.
"""

import difflib
from collections.abc import Iterable
from itertools import islice

from shared.errors import FieldError

MAX_ERRORS = 100
MAX_COMPARED = 200
_MAX_WORDS = 64


def first(errors: Iterable[FieldError]) -> list[FieldError]:
    """As many as are told; the others are not even looked for."""
    return list(islice(errors, MAX_ERRORS))


def shown(text: str) -> str:
    """Something that a caller wrote, inside a message: not too long, nothing that a terminal obeys."""
    cut = text if len(text) <= _MAX_WORDS else text[: _MAX_WORDS - 1] + "…"
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in cut)


def hint(name: str, known: Iterable[str]) -> str:
    """`; did you mean …?`, or nothing."""
    # Only near the length of the name: comparing one with thousands of others would take a second.
    candidates = islice((one for one in known if abs(len(one) - len(name)) <= 3), MAX_COMPARED)
    near = difflib.get_close_matches(name[:256], candidates, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""
