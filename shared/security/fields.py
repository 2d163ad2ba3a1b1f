"""Encrypted fields of a step: values inside of its input and output that only some may read.

A field is a path such as `output.user.token`; `*` stands for every key or element. What lies there is stored as an
envelope (`encryption.py`) in base64, bound to tenant, execution, step and its exact path: moved elsewhere it does not
open. Whoever may not read it sees `[encrypted]`.
"""

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shared.security.encryption import Cipher, DecryptionFailed

PREFIX = "cadenza-encrypted:"
HIDDEN = "[encrypted]"
UNREADABLE = "[encrypted: cannot be opened]"

Part = Literal["input", "output"]
Change = Callable[[str, Any], Any]
"""Gets a path and what lies there, gives what is to be there instead."""


@dataclass(frozen=True, slots=True)
class FieldCipher:
    """Seals and opens the fields of one step."""

    cipher: Cipher
    tenant: str
    execution_id: str
    step_id: int

    def seal(self, field: str, value: Any) -> str:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        envelope = self.cipher.encrypt(text.encode(), context=self._context(field))
        return PREFIX + base64.b64encode(envelope).decode()

    def open(self, field: str, sealed: Any) -> Any:
        """Raises DecryptionFailed, also for what was never sealed."""
        if not isinstance(sealed, str) or not sealed.startswith(PREFIX):
            raise DecryptionFailed(f"{field} is not encrypted as it should be")
        try:
            envelope = base64.b64decode(sealed.removeprefix(PREFIX), validate=True)
        except ValueError:
            raise DecryptionFailed(f"{field} has been changed") from None
        return json.loads(self.cipher.decrypt(envelope, context=self._context(field)))

    def _context(self, field: str) -> str:
        return f"field:{self.tenant}/{self.execution_id}/{self.step_id}/{field}"


def change(
    value: Mapping[str, Any], fields: Iterable[str], part: Part, into: Change
) -> tuple[dict[str, Any], list[str]]:
    """The value with every field of `part` changed, and the exact paths at which something was."""
    changed: Any = dict(value)
    found: list[str] = []
    for field in fields:
        head, _, rest = field.partition(".")
        if head == part and rest:
            changed = _changed(changed, rest.split("."), head, into, found)
    return changed, found


def _changed(value: Any, keys: Sequence[str], path: str, into: Change, found: list[str]) -> Any:
    if not keys:
        if path in found:  # two patterns meet here
            return value
        found.append(path)
        return into(path, value)
    key, rest = keys[0], keys[1:]
    match value:
        case dict():
            return {
                name: _changed(item, rest, f"{path}.{name}", into, found)
                if key in ("*", name)
                else item
                for name, item in value.items()
            }
        case list():
            return [
                _changed(item, rest, f"{path}.{number}", into, found)
                if key in ("*", str(number))
                else item
                for number, item in enumerate(value)
            ]
    return value
