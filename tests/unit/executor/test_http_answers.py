"""Answers as checks see them: character sets, JSON, and paths that would take too long."""

import codecs
import time

import pytest

from services.executor.commands.reach import HttpAnswer
from services.executor.http_steps.answers import _CHARSETS, read
from services.executor.http_steps.json_path import BadPath, compiled, find


def an_answer(body: bytes, content_type="application/json"):
    return HttpAnswer(200, {"content-type": content_type}, body, "http://x/", 1.0)


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ("ü".encode("latin-1"), "text/plain; charset=ISO-8859-1", "ü"),
        ("ü".encode(), 'text/plain; charset="utf-8"', "ü"),
        ("ü".encode(), "text/plain", "ü"),
        (b"\xff", "text/plain; charset=utf-8", "\ufffd"),
        (b"abc", "text/plain; charset=punycode", "abc"),
        (b"abc", "text/plain; charset=rot13", "abc"),
        (b"abc", "text/plain; charset=iso-8859-12", "abc"),
        ("ü".encode("utf-16"), "text/plain; charset=utf-16", "ü"),
    ],
)
def test_texts_are_decoded_as_the_server_says_where_that_is_harmless(body, kind, text):
    assert read(an_answer(body, kind)).text == text


def test_all_character_sets_exist():
    names = ["us-ascii", "utf-16le", "shift_jis", "euc-jp", "euc-kr", "gb18030", "gbk", "big5"]
    names += [f"iso-8859-{n}" for n in range(20)] + [f"windows-125{n}" for n in range(10)]
    for name in filter(_CHARSETS.fullmatch, names):
        codecs.lookup(name)


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"1" * 10_000, b"nul"])
def test_what_is_no_json_is_none(body):
    assert not read(an_answer(body)).is_json


def test_paths_find_one_value_or_all_of_them():
    value = {"a": [{"b": 1}, {"b": None}], "c.d": 2, "$x": 3}
    assert find("$.a[0].b", value) == (True, 1)
    assert find("$.a[1].b", value) == (True, None)
    assert find("$.a[2].b", value) == (False, None)
    assert find("$.a[*].b", value) == (True, [1, None])
    assert find("$..b", value) == (True, [1, None])
    assert find("$['c.d']", value) == (True, 2)
    assert find("$['$x']", value) == (True, 3)
    assert find("$.a[?@.b == 1]", value) == (True, [{"b": 1}])
    assert find("$.a[0,1].b", value) == (True, [1, None])
    assert find("$.none[*]", value) == (False, [])


@pytest.mark.parametrize(
    "path",
    [
        *("", "a", "$.", "$.a[", "$..a..b", "$..[0,1]", "$.a[?$.b == 1]", "$[?match(@.a, 'x')]"),
        *("$" + "[0,1]" * 9, "$" + "[?@.a]" * 9, "$.a | $.b", "$[?@.a =~ /x/]"),
    ],
)
def test_paths_that_cannot_be_used(path):
    with pytest.raises(BadPath):
        compiled(path)


@pytest.mark.breaks
def test_the_worst_allowed_path_takes_bounded_time():
    value: object = 1
    for _ in range(90):
        value = [value, value]
    wide = {"a": [{"b": {"c": [n]}} for n in range(5_000)]}
    begun = time.monotonic()
    for path in ("$" + "[0,1]" * 8, "$" + "[*]" * 8):
        find(path, value)
    for path in ("$..c[*]", "$..[?@.b.c[0] > 5]", "$.a[?@.b[?@[?@ > 5]]].b.c[0]"):
        find(path, wide)
    assert time.monotonic() - begun < 30
