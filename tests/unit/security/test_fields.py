"""Encrypted fields: sealed where they are, opened nowhere else."""

import secrets

import pytest

from shared.security.encryption import Cipher, DecryptionFailed
from shared.security.fields import HIDDEN, FieldCipher, change

CIPHER = Cipher({"k": secrets.token_bytes(32)})
FIELDS = FieldCipher(CIPHER, "acme", "run", 1)
VALUE = {
    "user": {"name": "ann", "ssn": "123-45-6789"},
    "list": [{"t": 1}, {"t": 2}, "x"],
    "n": None,
}


@pytest.mark.parametrize(
    ("fields", "expected", "paths"),
    [
        (["output.user.ssn"], {"user": {"name": "ann", "ssn": HIDDEN}}, ["output.user.ssn"]),
        (["output.user"], {"user": HIDDEN}, ["output.user"]),
        (["output.list.*.t"], {"list": [{"t": HIDDEN}, {"t": HIDDEN}, "x"]}, ["output.list.0.t", "output.list.1.t"]),
        (["output.list.1"], {"list": [{"t": 1}, HIDDEN, "x"]}, ["output.list.1"]),
        (["output.n"], {"n": HIDDEN}, ["output.n"]),
        (["output.no", "output.user.ssn.x", "input.user"], {}, []),
        (["output.*"], {"user": HIDDEN, "list": HIDDEN, "n": HIDDEN}, ["output.user", "output.list", "output.n"]),
        (["output.user.ssn", "output.user.*"], {"user": {"name": HIDDEN, "ssn": HIDDEN}}, ["output.user.ssn", "output.user.name"]),
    ],
)  # fmt: skip
def test_paths(fields, expected, paths):
    original = {**VALUE, "user": dict(VALUE["user"])}
    changed, found = change(original, fields, "output", lambda *_: HIDDEN)
    assert changed == VALUE | expected
    assert sorted(found) == sorted(paths)
    assert original == VALUE


@pytest.mark.parametrize("value", ["text", 7, None, {"a": [1, "ü"]}, "", False])
def test_a_field_opens_as_it_was(value):
    sealed = FIELDS.seal("output.a", value)
    assert isinstance(sealed, str)
    assert FIELDS.open("output.a", sealed) == value
    assert sealed != FIELDS.seal("output.a", value), "two equal values cannot be told to be equal"


@pytest.mark.parametrize(
    ("other", "field"),
    [
        (FieldCipher(CIPHER, "acme", "run", 1), "output.b"),
        (FieldCipher(CIPHER, "acme", "run", 1), "input.a"),
        (FieldCipher(CIPHER, "acme", "run", 2), "output.a"),
        (FieldCipher(CIPHER, "acme", "nur", 1), "output.a"),
        (FieldCipher(CIPHER, "other", "run", 1), "output.a"),
        (FieldCipher(Cipher({"k": secrets.token_bytes(32)}), "acme", "run", 1), "output.a"),
    ],
)
def test_moved_it_does_not_open(other, field):
    sealed = FIELDS.seal("output.a", "value")
    with pytest.raises(DecryptionFailed):
        other.open(field, sealed)


@pytest.mark.parametrize("sealed", ["plain", None, 5, "cadenza-encrypted:", "cadenza-encrypted:%%%", "cadenza-encrypted:AAAA"])  # fmt: skip
def test_what_was_never_sealed_does_not_open(sealed):
    with pytest.raises(DecryptionFailed):
        FIELDS.open("output.a", sealed)
