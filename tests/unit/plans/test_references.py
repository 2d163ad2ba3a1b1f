"""References: read, checked, replaced."""

import pytest

from shared.plans.references import (
    BadReference,
    MissingReference,
    Values,
    is_whole,
    parse,
    references_in,
    resolve,
    secrets_in,
)

VALUES = Values(
    steps={
        "a": {"n": 5, "text": "hi", "list": [1, {"k": None}], "t": True},
        "b.c-d": {"x": "dotted"},
    },
    inputs={"branch": "main", "deep": {"er": [10, 20]}},
    input={"row": {"id": 7}},
    secrets={"key": "s3cret"},
    vars={"base-url": "https://x"},
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${{ steps.a.outputs.n }}", 5),
        ("  ${{steps.a.outputs.n}}  ", 5),
        ("${{ steps.a.outputs.list }}", [1, {"k": None}]),
        ("${{ steps.a.outputs.list.1 }}", {"k": None}),
        ("${{ steps.a.outputs.list.1.k }}", None),
        ("${{ steps.a.outputs }}", {"n": 5, "text": "hi", "list": [1, {"k": None}], "t": True}),
        ("${{ steps.b.c-d.outputs.x }}", "dotted"),
        ("${{ inputs.deep.er.0 }}", 10),
        ("${{ input.row.id }}", 7),
        ("${{ secrets.key }}", "s3cret"),
        ("${{ vars.base-url }}/a", "https://x/a"),
        ("n=${{ steps.a.outputs.n }}", "n=5"),
        ("${{ steps.a.outputs.n }}${{ steps.a.outputs.text }}", "5hi"),
        ("${{ steps.a.outputs.list }}!", '[1, {"k": null}]!'),
        ("${{ steps.a.outputs.t }}!", "true!"),
        ("$${{ inputs.branch }}", "${{ inputs.branch }}"),
        ("$${{ x }} ${{ inputs.branch }}", "${{ x }} main"),
        ("$HOME ${HOME} {{ x }}", "$HOME ${HOME} {{ x }}"),
    ],
)
def test_values_take_the_place_of_references(text, value):
    assert resolve(text, VALUES) == value
    assert resolve({"k": [text, 3]}, VALUES) == {"k": [value, 3]}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("${{ steps.z.outputs.n }}", "step 'z' has no outputs"),
        ("${{ steps.a.outputs.zz }}", "there is no 'zz'"),
        ("${{ steps.a.outputs.list.9 }}", "there is no '9'"),
        ("x ${{ inputs.zz }}", "there is no 'zz'"),
        ("${{ secrets.zz }}", "there is no 'zz'"),
        ("${{ vars.zz }}", "there is no 'zz'"),
    ],
)
def test_what_is_missing_is_named(text, why):
    with pytest.raises(MissingReference) as caught:
        resolve(text, VALUES)
    assert why in caught.value.message
    assert "s3cret" not in caught.value.message


def test_what_a_reference_brings_in_is_not_looked_at_again():
    values = Values(inputs={"evil": "${{ secrets.key }}"}, secrets={"key": "k"})
    assert resolve("a ${{ inputs.evil }}", values) == "a ${{ secrets.key }}"


@pytest.mark.parametrize("text", ["", "foo", "steps.a", "steps.a.outputs.", "inputs", "inputs.a b", "secrets.a.b", "vars.a.b", "env.X", "steps..outputs.x"])  # fmt: skip
def test_what_cannot_be_read_is_refused(text):
    with pytest.raises(BadReference):
        parse(text)


def test_finding_references():
    value = {"a": ["${{ secrets.one }} ${{ secrets.two }}", {"b": "$${{ secrets.three }}"}], "c": 5}
    assert secrets_in(value) == {"one", "two"}
    assert [reference.text for reference in references_in(value)] == ["secrets.one", "secrets.two"]
    assert is_whole(" ${{ inputs.a }} ")
    assert not is_whole("${{ inputs.a }} ${{ inputs.b }}")
    assert not is_whole("$${{ inputs.a }}")
