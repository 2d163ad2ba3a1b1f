"""What was encrypted is read with the right key and context only."""

import os
import random

import pytest

from shared.errors import ConfigurationError
from shared.security.encryption import Cipher, DecryptionFailed

OLD, NEW = os.urandom(32), os.urandom(32)


@pytest.mark.parametrize("value", [b"", b"x", "pässwörd".encode(), os.urandom(100_000)])
def test_what_was_encrypted_is_decrypted(value):
    cipher = Cipher({"k1": OLD})
    envelope = cipher.encrypt(value, context="demo/db")
    assert cipher.decrypt(envelope, context="demo/db") == value
    assert len(value) < 4 or value not in envelope


def test_the_same_value_never_looks_the_same():
    cipher = Cipher({"k1": OLD})
    assert len({cipher.encrypt(b"x", context="c") for _ in range(100)}) == 100


def test_a_value_does_not_open_in_another_place():
    cipher = Cipher({"k1": OLD})
    with pytest.raises(DecryptionFailed):
        cipher.decrypt(cipher.encrypt(b"x", context="demo/db"), context="other/db")


def test_keys_are_rotated_by_a_new_one_in_front():
    envelope = Cipher({"k1": OLD}).encrypt(b"x", context="c")
    rotated = Cipher({"k2": NEW, "k1": OLD})
    assert rotated.decrypt(envelope, context="c") == b"x"
    with pytest.raises(DecryptionFailed, match="not in the settings"):
        Cipher({"k1": OLD}).decrypt(rotated.encrypt(b"x", context="c"), context="c")
    with pytest.raises(DecryptionFailed):
        Cipher({"k1": NEW}).decrypt(envelope, context="c")


def test_no_changed_byte_passes():
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    cipher = Cipher({"key": OLD})
    envelope = cipher.encrypt(b"value", context="c")
    for place in range(len(envelope)):
        changed = bytearray(envelope)
        changed[place] ^= rng.randrange(1, 256)
        with pytest.raises(DecryptionFailed):
            cipher.decrypt(bytes(changed), context="c")
    for end in range(len(envelope)):
        with pytest.raises(DecryptionFailed):
            cipher.decrypt(envelope[:end], context="c")


@pytest.mark.parametrize("keys", [{}, {"k": b"short"}, {"": OLD}, {"k" * 256: OLD}])
def test_wrong_keys_are_wrong_settings(keys):
    with pytest.raises(ConfigurationError):
        Cipher(keys)
