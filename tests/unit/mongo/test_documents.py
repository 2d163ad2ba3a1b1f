"""JSON in documents: what is refused, with which rule, and that references come back as plain objects."""

import math
from decimal import Decimal

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.mongo.documents import MAX_BYTES, check_json, faithful

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5)
            | st.sampled_from(["$ref", "$id", "$db", "a.b", "$set"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


def nested(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "field", "rule"),
    [
        (2**63, "input", "int64"),
        ({"a": [1, -(2**63) - 1]}, "input.a[1]", "int64"),
        ({"a": "\ud800"}, "input.a", "unicode"),
        ({"\udfff": 1}, "input", "unicode"),
        ({"a\0": 1}, "input", "key_nul"),
        ({1: 1}, "input", "json"),
        (math.nan, "input", "finite"),
        ([math.inf], "input[0]", "finite"),
        (Decimal(1), "input", "json"),
        (b"x", "input", "json"),
        (nested(101), "input" + "[0]" * 100, "depth"),
        (nested(100_000), None, "depth"),
        ("x" * MAX_BYTES, "input", "size"),
        ([0.5] * 120_000, "input", "size"),
    ],
    ids=lambda value: repr(value)[:30] if not isinstance(value, list) else "list",
)
def test_what_cannot_be_kept_is_named(value, field, rule):
    (error,) = check_json(value, "input")
    assert error.rule == rule
    assert field is None or error.field == field


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        2**63 - 1,
        -(2**63),
        1.5,
        "",
        "\0",
        {"$ref": 1, "a.b": {"": 2}},
        nested(100),
        "é" * 500_000,
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_json_allows_is_kept(value):
    assert check_json(value, "input") == []


def test_every_broken_rule_is_named():
    errors = check_json({"a": 2**64, "b": [math.nan, "\ud800"]}, "x")
    assert [(error.field, error.rule) for error in errors] == [
        ("x.a", "int64"),
        ("x.b[0]", "finite"),
        ("x.b[1]", "unicode"),
    ]


@given(JSON)
def test_whatever_passes_comes_back_unchanged(value):
    assert check_json(value, "v") == []
    assert faithful(bson.decode(bson.encode({"v": value}))) == {"v": value}
