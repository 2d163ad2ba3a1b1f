"""Values that JSON may hold and that somebody, somewhere, does not expect."""

import json
from typing import Any

STRINGS = {
    "empty": "",
    "nul": "a\0b",
    "controls": "".join(map(chr, range(32))) + "\x7f",
    "c1 controls": "".join(map(chr, range(0x80, 0xA0))),
    "terminal": "\x1b[31m\x1b]0;title\x07\x1b[2J\x9b1m",
    "bidi": "abc\u202etxt.exe\u2066\u2069\u200f\u061c",
    "invisible": "\u200b\u200d\ufeff\u2028\u2029\u00ad\ufff9",
    "combining": "e\u0301" + "\u0316" * 500,
    "not normalised": "\u212b \u00c5 A\u030a \ufb01",
    "beyond the plane": "😀👩‍👩‍👧‍👦\U0010ffff",
    "not characters": "\ufffe\uffff\U0001fffe\ufffd",
    "lines": "a\r\nb\rc\nd\u0085e",
    "blanks": " \t\u00a0\u3000 ",
    "quotes": "'\"\\`$(id)${HOME}%s%n{{x}}",
    "markup": "<script>alert(1)</script>&lt;[bold]red[/]",
    "query": "'; DROP TABLE runs; --",
    "operators": '{"$ne": null}',
    "path": "../../../etc/passwd",
    "literal reference": "$${{ inputs.x }}",
    "looks like a number": "007",
    "long": "x" * 10_000,
}
KEYS = [
    "",
    "$set",
    "$",
    ".",
    "a.b",
    "$where.x",
    "__proto__",
    "constructor",
    "_id",
    "😀",
    "\u202e",
    " ",
]
NUMBERS = [
    0, -1, 2**31, -(2**31) - 1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63),
    0.1, -0.0, 1e308, 5e-324, 1.0, 1e15, 123456789.123456789,
]  # fmt: skip


def everything() -> dict[str, Any]:
    """All of it, in one object."""
    return {
        "strings": STRINGS,
        "keys": {key: {key: key} for key in KEYS},
        "numbers": NUMBERS,
        "others": [True, False, None, {}, [], [[]], {"": {}}],
        "order": dict.fromkeys("zyxabc", 0),
    }


def text(value: Any) -> str:
    """As JSON, order and kinds of numbers included: two values with one text are the same to the last byte."""
    return json.dumps(value)
