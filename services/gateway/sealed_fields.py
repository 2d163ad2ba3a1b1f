"""Encrypted fields where they are read: opened for whoever has the role `decrypt`, hidden from everybody else."""

from typing import Any

import structlog

from shared.security.encryption import Cipher, DecryptionFailed
from shared.security.fields import HIDDEN, UNREADABLE, FieldCipher, change
from shared.views.executions import StepView

ROLE = "decrypt"

log = structlog.get_logger(__name__)


class SealedFields:
    """Shows steps."""

    def __init__(self, cipher: Cipher | None = None) -> None:
        self._cipher = cipher

    def shown(self, step: StepView, tenant: str, *, decrypt: bool) -> StepView:
        """The step as a caller may see it. An envelope that was moved or changed is not opened."""
        if not step.encrypted_fields:
            return step
        into = self._opened(step, tenant) if decrypt and self._cipher else _hidden
        changes: dict[str, Any] = {
            "input": change(step.input, step.encrypted_fields, "input", into)[0]
        }
        if isinstance(step.output, dict):
            changes["output"] = change(step.output, step.encrypted_fields, "output", into)[0]
        return step.model_copy(update=changes)

    def _opened(self, step: StepView, tenant: str) -> Any:
        assert self._cipher is not None  # noqa: S101 - asked for only with one
        origin = step.reused_from or step.execution_id  # where it ran
        fields = FieldCipher(self._cipher, tenant, origin, step.step_id)

        def into(path: str, sealed: Any) -> Any:
            try:
                return fields.open(path, sealed)
            except DecryptionFailed:
                log.warning("fields.refused", execution_id=step.execution_id, field=path)
                return UNREADABLE

        return into


def _hidden(_: str, sealed: Any) -> str:  # noqa: ARG001
    return HIDDEN
