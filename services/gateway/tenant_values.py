"""Use cases: secrets and variables of a tenant.

A secret's value goes in and is never told again: it is sealed before it reaches the database, for tenant and name, and
only the executor opens it. A variable is readable. Every change is recorded, without the value.
"""

from services.gateway.errors import EncryptionMissing
from services.gateway.models import Page, Requester
from services.gateway.ports import TenantValues
from shared.errors import NotFound
from shared.plans.mistakes import shown
from shared.ports import Audit
from shared.security.encryption import Cipher
from shared.views.tenant_values import SecretView, sealing_context


class Variables:
    """Values that anybody of the tenant may read."""

    kind = "variable"

    def __init__(self, values: TenantValues, audit: Audit) -> None:
        self._values = values
        self._audit = audit

    async def put(self, name: str, value: str, requester: Requester) -> SecretView:
        """Set or replace a value; durable when it returns."""
        sealed = self._sealed(requester.tenant, name, value)
        view = await self._values.put(requester.tenant, name, sealed, by=requester.user)
        await self._note(requester, f"{self.kind}.set", name, version=view.version)
        return view

    async def list(self, tenant: str, *, after: str | None, limit: int) -> Page:
        """In order of name."""
        return await self._values.list(tenant, after=after, limit=limit)

    async def remove(self, name: str, requester: Requester) -> None:
        """Raises NotFound."""
        if not await self._values.remove(requester.tenant, name):
            raise NotFound(f"there is no {self.kind} '{shown(name)}'")
        await self._note(requester, f"{self.kind}.delete", name)

    def _sealed(self, tenant: str, name: str, value: str) -> bytes | str:  # noqa: ARG002
        return value

    async def _note(
        self, requester: Requester, action: str, name: str, **details: int | str
    ) -> None:
        await self._audit.record(
            tenant=requester.tenant,
            actor=requester.user,
            action=action,
            target=f"{self.kind}/{name}",
            details=details,
        )


class Secrets(Variables):
    """Values that nobody may read."""

    kind = "secret"

    def __init__(self, values: TenantValues, audit: Audit, *, cipher: Cipher | None) -> None:
        super().__init__(values, audit)
        self._cipher = cipher

    def _sealed(self, tenant: str, name: str, value: str) -> bytes:
        """Raises EncryptionMissing."""
        if self._cipher is None:
            raise EncryptionMissing
        return self._cipher.encrypt(value.encode(), context=sealing_context(tenant, name))
