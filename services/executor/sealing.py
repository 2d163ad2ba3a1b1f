"""Encrypted fields where they are written: sealed before a step's end is stored, opened by the run's next owner."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.errors import PermanentError
from shared.plans.plan import Step
from shared.plans.references import strings_in
from shared.security.encryption import Cipher
from shared.security.fields import FieldCipher, change

MIN_HIDDEN = 4
"""Masking shorter values would hide more than they are."""


class NoEncryption(PermanentError):
    """The step has encrypted fields, and SECURITY__ENCRYPTION_KEYS is not set on this executor."""

    code = "encryption_missing"


@dataclass(frozen=True, slots=True)
class Sealed:
    """What may be stored of a step."""

    input: Mapping[str, Any]
    output: Mapping[str, Any]
    fields: tuple[str, ...] = ()
    """Exact paths at which there is an envelope now."""
    values: tuple[str, ...] = ()
    """Texts that were in clear there."""


class Sealing:
    """The encrypted fields of one run."""

    def __init__(self, cipher: Cipher | None, tenant: str, execution_id: str) -> None:
        self._cipher = cipher
        self._tenant = tenant
        self._execution_id = execution_id

    def of(self, execution_id: str | None) -> "Sealing":
        """Of the execution in which a step ran that a rerun has taken over: its envelopes are bound to that one."""
        return Sealing(self._cipher, self._tenant, execution_id) if execution_id else self

    def check(self, step: Step) -> None:
        """Before anything of the step runs. Raises NoEncryption."""
        if step.encrypted_fields and self._cipher is None:
            raise NoEncryption

    def seal(
        self, step: Step, step_id: int, *, input: Mapping[str, Any], output: Mapping[str, Any]
    ) -> Sealed:
        if not step.encrypted_fields or self._cipher is None:
            return Sealed(input, output)
        fields = self._fields(self._cipher, step_id)
        hidden: list[str] = []

        def into(path: str, value: Any) -> str:
            hidden.extend(_texts(value))
            return fields.seal(path, value)

        sealed_input, of_input = change(input, step.encrypted_fields, "input", into)
        sealed_output, of_output = change(output, step.encrypted_fields, "output", into)
        return Sealed(sealed_input, sealed_output, (*of_input, *of_output), tuple(hidden))

    def open(
        self, step: Step, step_id: int, output: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], list[str]]:
        """A recorded output in clear, and the texts to mask. Raises DecryptionFailed, NoEncryption."""
        if not step.encrypted_fields:
            return output, []
        self.check(step)
        assert self._cipher is not None  # noqa: S101 - just checked
        fields = self._fields(self._cipher, step_id)
        hidden: list[str] = []

        def into(path: str, sealed: Any) -> Any:
            value = fields.open(path, sealed)
            hidden.extend(_texts(value))
            return value

        return change(output, step.encrypted_fields, "output", into)[0], hidden

    def _fields(self, cipher: Cipher, step_id: int) -> FieldCipher:
        return FieldCipher(cipher, self._tenant, self._execution_id, step_id)


def _texts(value: Any) -> Iterator[str]:
    return (text for text in strings_in(value) if len(text) >= MIN_HIDDEN)
