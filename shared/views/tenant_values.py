"""Secrets and variables of a tenant as the gateway keeps them for the executor.

`_id` is `tenant/name`; a name holds no slash, so no two belong together by accident. A secret's value is an envelope of
`shared/security/encryption.py`, bound to tenant and name: moved to another document it does not open.
"""

from pydantic import Field

from shared.events.base import Moment
from shared.views.base import View

SECRETS = "secrets"
VARIABLES = "variables"


class SecretView(View):
    """What anybody but the executor may know of a secret."""

    name: str
    version: int
    """Rises with every new value."""
    created_at: Moment
    updated_at: Moment
    updated_by: str


class SealedSecret(View):
    """What the executor reads."""

    name: str
    value: bytes = Field(repr=False)


class VariableView(SecretView):
    """A variable, with its value."""

    value: str


def document_id(tenant: str, name: str) -> str:
    """`_id` of a secret or variable."""
    return f"{tenant}/{name}"


def sealing_context(tenant: str, name: str) -> str:
    """What the envelope of a secret is bound to."""
    return f"secret:{tenant}/{name}"
