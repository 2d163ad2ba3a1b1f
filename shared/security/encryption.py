"""Field encryption: AES-256-GCM in an envelope that says which key was used.

    byte 0      version (1)
    byte 1      length n of the key id
    2 … 2+n     key id (UTF-8)
    12 bytes    nonce, fresh for every value
    the rest    ciphertext and tag

The first key encrypts, all keys decrypt: so a key is rotated by putting a new one in front. Version and key id are
authenticated together with the caller's context (such as `tenant/name`), so that a value moved elsewhere is refused.
"""

import base64
import binascii
import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.errors import ConfigurationError, PermanentError
from shared.settings import SecuritySettings

VERSION = 1
KEY_BYTES = 32
NONCE_BYTES = 12


class DecryptionFailed(PermanentError):
    """The value cannot be decrypted: unknown key, other context, or changed."""

    code = "decryption_failed"


class Cipher:
    """Encrypts and decrypts small values. Safe to share."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """`keys`: id → 32 bytes; the first is the one in use. Raises ConfigurationError."""
        if not keys:
            raise ConfigurationError("encryption needs at least one key")
        for key_id, key in keys.items():
            if len(key) != KEY_BYTES or not 0 < len(key_id.encode()) < 256:
                raise ConfigurationError(f"encryption key '{key_id}' must have {KEY_BYTES} bytes")
        self._keys = {key_id.encode(): AESGCM(key) for key_id, key in keys.items()}
        self._current = next(iter(self._keys))

    def encrypt(self, value: bytes, *, context: str) -> bytes:
        """The envelope of `value`; only the same `context` opens it."""
        head = bytes((VERSION, len(self._current))) + self._current
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._keys[self._current].encrypt(nonce, value, _bound(head, context))
        return head + nonce + sealed

    def decrypt(self, envelope: bytes, *, context: str) -> bytes:
        """Raises DecryptionFailed."""
        head, body = _split(envelope)
        key = self._keys.get(head[2:])
        if key is None:
            raise DecryptionFailed("the value was encrypted with a key that is not in the settings")
        nonce, sealed = body[:NONCE_BYTES], body[NONCE_BYTES:]
        try:
            return key.decrypt(nonce, sealed, _bound(head, context))
        except (InvalidTag, ValueError):
            raise DecryptionFailed from None


def cipher_of(settings: SecuritySettings) -> Cipher | None:
    """The cipher with the keys of the settings; None when there are none. Raises ConfigurationError."""
    if not settings.encryption_keys:
        return None
    keys = {}
    for key_id, text in settings.encryption_keys.items():
        try:
            keys[key_id] = base64.b64decode(text.get_secret_value(), validate=True)
        except (binascii.Error, ValueError):
            raise ConfigurationError(
                f"SECURITY__ENCRYPTION_KEYS: key '{key_id}' is not base64; make one with "
                "`openssl rand -base64 32`"
            ) from None
    return Cipher(keys)


def _split(envelope: bytes) -> tuple[bytes, bytes]:
    if len(envelope) < 2 or envelope[0] != VERSION:
        raise DecryptionFailed("the value is not an envelope of a known version")
    end = 2 + envelope[1]
    return envelope[:end], envelope[end:]


def _bound(head: bytes, context: str) -> bytes:
    return head + context.encode()
