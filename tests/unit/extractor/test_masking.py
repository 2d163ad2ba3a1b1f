import pytest

from services.extractor.lake.masking import MASK, is_secret_name, masked, secret_values


@pytest.mark.parametrize(
    "name",
    ["password", "Password2", "user_pwd", "passphrase", "API-Key", "apikey", "access_token",
     "clientSecret", "credentials", "Authorization", "pass", "PASS_WORD"],
)  # fmt: skip
def test_secret_names(name):
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["passed", "passport", "passenger", "username", "Question1", "url"]
)
def test_other_names(name):
    assert not is_secret_name(name)


def test_a_secret_is_masked_wherever_it_stands():
    source = {
        "row": {"password": "correct-horse"},
        "variables": {"1": {"name": "pin", "value": "4711", "hidden": True}},
        "nested": {"credentials": {"key": "abc-def-ghi"}},
    }
    secrets = secret_values(source)
    assert secrets == {"correct-horse", "4711", "abc-def-ghi"}
    told = {"a": "typed correct-horse into it", "b": "4711", "c": ["x4711", 4711], "d": None}
    assert masked(told, secrets) == {
        "a": f"typed {MASK} into it",
        "b": MASK,
        "c": ["x4711", 4711],
        "d": None,
    }


def test_empty_secrets_mask_nothing():
    assert secret_values({"password": ""}) == set()
    assert masked({"a": ""}, set()) == {"a": ""}
