"""Secrets do not get out, in whatever form and however the output is cut."""

import base64
import json
import random
from urllib.parse import quote

import pytest

from shared.security.redaction import MASK, Redactor, is_secret_name

SECRET = 'p@ss w/ö"rd\\1'


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET, safe=""),
        quote(SECRET),
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        base64.b64encode(SECRET.encode()).decode().rstrip("="),
        base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
    ],
)
def test_known_secrets_are_masked_in_every_form(form):
    out = Redactor([SECRET]).redact(f"before {form} after {form}")
    assert form not in out
    assert out.count(MASK) == 2
    assert out.startswith("before ")


def test_a_secret_inside_a_longer_base64_text_is_masked():
    for prefix in ("", "u", "us", "user:"):
        text = base64.b64encode((prefix + "long-secret-value").encode()).decode()
        out = Redactor(["long-secret-value"]).redact(f"Authorization {text}")
        assert MASK in out
        assert b"secret" not in base64.b64decode(out.split()[1].replace(MASK, "") + "====")


def test_short_secrets_are_masked_only_where_they_stand_alone():
    redactor = Redactor(["7", "abc"])
    assert redactor.redact("7 17 abc abcd x=abc;") == f"{MASK} 17 {MASK} abcd x={MASK};"
    assert Redactor([""]).redact("nothing") == "nothing"


def test_the_longer_of_two_secrets_wins():
    assert Redactor(["secret", "secret-more"]).redact("secret-more") == MASK


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("AKIAIOSFODNN7EXAMPLE", ""),
        ("Authorization: Bearer abcdefghijklmnop123", "Authorization: Bearer "),
        ("postgres://bob:hunter2@db/x", "postgres://bob:"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4fw", ""),
        ("ghp_" + "a" * 36, ""),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIabc=\n-----END RSA PRIVATE KEY-----", ""),
    ],
)
def test_credentials_of_known_shape_are_masked(text, kept):
    out = Redactor().redact(f"x {text} y")
    assert out.startswith(f"x {kept}{MASK}")
    assert out.endswith(" y") or "@db/x y" in out


@pytest.mark.parametrize(
    "text", ["http://example.com:80/a@b", "basic auth", "bearer", "eyJ", "AKIA", "a://b"]
)
def test_ordinary_text_is_left_alone(text):
    assert Redactor(["unrelated"]).redact(text) == text


def test_fields_named_like_secrets_are_masked_in_json():
    value = {
        "user": "bob",
        "password": "x",
        "apiKey": "y",
        "nested": [
            {"Authorization": "z", "db_token": 5, "max_tokens": 100, "empty": "", "secret": None}
        ],
        "note": f"it is {SECRET}",
        SECRET: 1,
    }
    assert Redactor([SECRET]).redact_json(value) == {
        "user": "bob",
        "password": MASK,
        "apiKey": MASK,
        "nested": [
            {
                "Authorization": MASK,
                "db_token": MASK,
                "max_tokens": 100,
                "empty": "",
                "secret": None,
            }
        ],
        "note": f"it is {MASK}",
        MASK: 1,
    }
    assert value["password"] == "x", "the original is left alone"


@pytest.mark.parametrize("name", ["password", "DB_PASSWORD", "apiKey", "X-API-Key", "clientSecret", "AWS_SECRET_ACCESS_KEY", "token", "Set-Cookie"])  # fmt: skip
def test_secret_names(name):
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["user", "max_tokens", "token_count", "tokenizer", "secretary", "key", "password_length"])  # fmt: skip
def test_harmless_names(name):
    assert not is_secret_name(name)


def test_streams_find_secrets_wherever_they_are_cut():
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    secrets = ["hunter2-hunter2", "two\nlines-of-secret", "pässword", "AKIAIOSFODNN7EXAMPLE"]
    redactor = Redactor(secrets[:3])
    for _ in range(300):
        words = [
            rng.choice([*secrets, "hunt", "plain", "\n", "two\n", "http://x/"]) for _ in range(20)
        ]
        data = " ".join(words).encode()
        stream, out, at = redactor.stream(), b"", 0
        while at < len(data):
            size = rng.randint(1, 9)
            out += stream.feed(data[at : at + size])
            at += size
        out += stream.flush()
        assert out.decode() == redactor.redact(data.decode())
        assert not any(secret.encode() in out for secret in secrets)


def test_a_stream_holds_back_only_what_may_be_a_secret():
    stream = Redactor(["hunter2-hunter2"]).stream()
    assert stream.feed(b"a line\n") == b"a line\n"
    assert stream.feed(b"one\nincomplete hunter2") == b"one\n"
    assert stream.feed(b"!\n") == b"incomplete hunter2!\n"
    assert len(stream.feed(b"x" * 100_000)) >= 90_000
    assert stream.flush()


def test_a_stream_that_is_cut_off_ends_before_what_may_be_a_secret():
    stream = Redactor(["hunter2-hunter2"]).stream()
    out = stream.feed(b"one\ntwo hunter2-hunter2 hunter2-hu")
    assert out + stream.cut_off() == b"one\ntwo [redacted] "


def test_bytes_and_surrogates_pass_unharmed():
    assert (
        Redactor(["abcd"]).redact_bytes(b"\xff\xfeabcd\x00")
        == b"\xff\xfe" + MASK.encode() + b"\x00"
    )
    assert Redactor(["abcd"]).redact("\ud800 abcd") == f"\ud800 {MASK}"
    data = b"nothing here"
    assert Redactor(["abcd"]).redact_bytes(data) is data


def test_hostile_input_takes_no_long_time():
    redactor = Redactor(["aaaaaaaaab"])
    for text in (
        "a" * 300_000,
        "eyJ" * 100_000,
        "://" * 100_000,
        "-----BEGIN PRIVATE KEY-----" * 5_000,
        "bearer " * 50_000,
    ):
        redactor.redact(text)
