"""Keeps secrets out of logs, events, documents and command output.

A `Redactor` knows the secret values of one run (also in their base64, URL-encoded and JSON-escaped forms), the
shapes of well-known credentials and the names of fields that hold some. What it finds becomes `[redacted]`.
`stream()` does the same for output that arrives in pieces: it holds back only what may be the beginning of a secret.
"""

import base64
import json
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "[redacted]"
_MASK = MASK.encode()

MIN_LENGTH = 4
"""A shorter secret is masked only where it stands alone: masking every `a` would destroy the output and,
by the places of the masks, tell more than it hides."""

_FIELD = re.compile(
    r"(?i)(?:^|[_\-.])(?:password|passwd|passphrase|pwd|secret|token|authorization|credentials?|cookie"
    r"|api[_\-]?key|access[_\-]?key|private[_\-]?key|session[_\-]?key|connection[_\-]?string)s?(?:$|[_\-.])"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_HARMLESS = re.compile(
    r"(?i)(?:count|limit|max|min|tokens?_used|expires?|expiry|type|length)(?:$|[_\-.])"
)

# Credentials that are known by their shape alone. Each keeps group `keep`, where there is one, for the reader.
_SHAPES = re.compile(
    rb"(?:AKIA|ASIA)[0-9A-Z]{16}"
    rb"|gh[pousr]_[A-Za-z0-9]{36,255}"
    rb"|xox[abeoprs]-[A-Za-z0-9-]{10,250}"
    rb"|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,1024}\.eyJ[A-Za-z0-9_-]{10,4096}\.[A-Za-z0-9_-]{10,1024}"
    rb"|(?P<bearer>(?i:bearer|basic)[ \t]{1,4})[A-Za-z0-9._~+/=-]{16,4096}"
    rb"|(?P<url>[a-z][a-z0-9+.-]{1,20}://[^\s/:@'\"]{1,128}:)[^\s/@'\"]{1,256}(?=@)"
    rb"|-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[A-Za-z0-9+/=\s\\]{1,16384}-----END [A-Z ]{0,40}PRIVATE KEY-----"
)
_SHAPE_HINTS = re.compile(rb"AKIA|ASIA|gh[pousr]_|xox|eyJ|(?i:bearer|basic)|://|-----BEGIN")


class Redactor:
    """Masks the given secrets and everything that looks like one. Immutable; cheap when there is nothing to mask."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = frozenset(secret for secret in secrets if secret)
        self._forms = sorted(
            {form for secret in self._secrets for form in _forms(secret)}, key=len, reverse=True
        )
        self._known = _pattern(self._forms)
        self._multiline = any(b"\n" in form for form in self._forms)

    @property
    def known(self) -> frozenset[str]:
        """The secrets that it was given, for a program of ours that masks files by itself."""
        return self._secrets

    def extended(self, secrets: Iterable[str]) -> "Redactor":
        """A redactor that knows these secrets too."""
        return Redactor(self._secrets.union(secrets))

    def redact(self, text: str) -> str:
        """Mask secrets in a text; lone surrogates pass unchanged."""
        data = text.encode("utf-8", "surrogatepass")
        out = self.redact_bytes(data)
        return text if out is data else out.decode("utf-8", "surrogatepass")

    def redact_bytes(self, data: bytes) -> bytes:
        """Mask secrets in bytes; the same object comes back when there are none."""
        return mask_shapes(self.mask_known(data))

    def redact_json(self, value: Any, *, fields: bool = True) -> Any:
        """Mask secrets in all strings and keys and, with `fields`, the values of fields that are named like secrets."""
        match value:
            case str():
                return self.redact(value)
            case dict():
                return {
                    self.redact(key) if isinstance(key, str) else key: self._field(
                        key, item, fields=fields
                    )
                    for key, item in value.items()
                }
            case list() | tuple():
                return [self.redact_json(item, fields=fields) for item in value]
        return value

    def stream(self) -> "RedactedStream":
        """A masker for one stream of output."""
        return RedactedStream(self)

    def mask_known(self, data: bytes) -> bytes:
        """Mask the known secret values only."""
        # Looking for each form is ten times quicker than the pattern, and most output holds none.
        if self._known is None or not any(form in data for form in self._forms):
            return data
        return self._known.sub(_MASK, data)

    def held_back(self, data: bytes) -> int:
        """How many bytes at the end of `data` may be the beginning of a known secret."""
        if not self._forms or (data.endswith(b"\n") and not self._multiline):
            return 0
        return max((_overlap(data, form) for form in self._forms), default=0)

    def _field(self, name: object, value: Any, *, fields: bool) -> Any:
        plain = isinstance(value, str | int | float) and not isinstance(value, bool) and value != ""
        if fields and plain and isinstance(name, str) and is_secret_name(name):
            return MASK
        return self.redact_json(value, fields=fields)


class RedactedStream:
    """Feed pieces in, get masked pieces out; together they are the masked stream. Call `flush` at the end.

    An incomplete line is held back, up to `LINE_LIMIT` bytes of it, and whatever may be the beginning of a known secret
    (one of several lines, too). So it makes no difference where the pieces are cut; only a credential of several
    lines that is known by its shape alone must lie in one piece.
    """

    LINE_LIMIT = 8192

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """Take a piece; returns what is certain by now."""
        masked = self._redactor.mask_known(self._rest + data)
        incomplete = min(len(masked) - masked.rfind(b"\n") - 1, self.LINE_LIMIT)
        cut = len(masked) - max(self._redactor.held_back(masked), incomplete)
        cut = _not_inside_a_shape(masked, cut)
        self._rest = masked[cut:]
        return mask_shapes(masked[:cut])

    def flush(self) -> bytes:
        """What was held back."""
        rest, self._rest = self._rest, b""
        return self._redactor.redact_bytes(rest)

    def cut_off(self) -> bytes:
        """What was held back of a stream whose rest is not kept: without what may be the beginning of a secret."""
        rest = self._redactor.mask_known(self._rest)
        self._rest = rest[: len(rest) - self._redactor.held_back(rest)]
        return self.flush()


def mask_shapes(data: bytes) -> bytes:
    """Mask what looks like a credential."""
    return _SHAPES.sub(_mask_shape, data) if _SHAPE_HINTS.search(data) else data


def _not_inside_a_shape(data: bytes, cut: int) -> int:
    """Where to cut so that no credential is cut in two."""
    if _SHAPE_HINTS.search(data):
        for found in _SHAPES.finditer(data):
            if found.start() < cut < found.end():
                return found.start()
    return cut


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """True for names such as `password`, `apiKey`, `DB_TOKEN`, `Authorization`; false for `max_tokens`."""
    snake = _CAMEL.sub("_", name)
    return bool(_FIELD.search(snake)) and not _HARMLESS.search(snake)


def _forms(secret: str) -> set[bytes]:
    """The secret as it may appear in output."""
    raw = secret.encode("utf-8", "surrogatepass")
    forms = {raw}
    if len(raw) < MIN_LENGTH:
        return forms
    for text in (quote(raw, safe=""), quote(raw), quote_plus(raw), json.dumps(secret)[1:-1]):
        forms.add(text.encode())
    forms.add(json.dumps(secret, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass"))
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        forms |= _base64_forms(raw, encode)
    if "\n" in secret:
        forms |= {line for line in raw.splitlines() if len(line) >= 2 * MIN_LENGTH}
    return forms


def _base64_forms(raw: bytes, encode: Callable[[bytes], bytes]) -> set[bytes]:
    """The characters of the base64 text that depend on the secret alone, at each of the three alignments that it may
    have inside a longer text (`user:secret`).
    """
    forms = {encode(raw).rstrip(b"=")}
    for shift in range(3):
        inside = encode(b"\0" * shift + raw)
        start = (shift * 8 + 5) // 6
        end = (shift + len(raw)) * 8 // 6
        if end - start >= 2 * MIN_LENGTH:
            forms.add(inside[start:end])
    return forms


def _pattern(forms: list[bytes]) -> re.Pattern[bytes] | None:
    if not forms:
        return None
    return re.compile(b"|".join(map(_alternative, forms)))


def _alternative(form: bytes) -> bytes:
    if len(form) >= MIN_LENGTH:
        return re.escape(form)
    return rb"(?<![A-Za-z0-9_])" + re.escape(form) + rb"(?![A-Za-z0-9_])"


def _overlap(data: bytes, form: bytes) -> int:
    """Length of the longest end of `data` that is a proper beginning of `form`."""
    for length in range(min(len(data), len(form) - 1), 0, -1):
        if data.endswith(form[:length]):
            return length
    # A short secret is only known to stand alone when the next byte is there.
    return len(form) if len(form) < MIN_LENGTH and data.endswith(form) else 0


def _mask_shape(match: re.Match[bytes]) -> bytes:
    keep: bytes = match["bearer"] or match["url"] or b""
    return keep + _MASK
