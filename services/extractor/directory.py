"""Who the customers are: those of the settings first, then those of the collection. Implements `ports.Customers`.

What the collection said is believed for a few seconds, so that a burst of webhooks is one question.
"""

from collections.abc import Mapping
from typing import Protocol

from pydantic import SecretStr

from services.extractor.errors import CredentialsMissing, UnknownCustomer
from services.extractor.models import Access, Customer, Json
from services.extractor.settings import CustomerSettings
from shared.clock import Clock
from shared.errors import NotFound
from shared.security.secrets import SecretSource

BELIEVED_SECONDS = 10.0


class StoredCustomers(Protocol):
    """Customers as they lie in the database. `find` raises UnknownCustomer."""

    async def find(self, tenant: str, name: str) -> Json: ...

    async def list(self, tenant: str | None = None) -> list[Json]: ...


class Directory:
    """All customers by tenant, id and slug."""

    def __init__(
        self,
        configured: Mapping[str, CustomerSettings],
        stored: StoredCustomers,
        *,
        secrets: SecretSource,
        clock: Clock,
    ) -> None:
        self._configured = [_configured(id_, one) for id_, one in configured.items()]
        self._stored = stored
        self._secrets = secrets
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[float, Customer | None]] = {}

    async def find(self, tenant: str, name: str) -> Customer:
        for customer in self._configured:
            if customer.tenant == tenant and name in (customer.id, customer.slug):
                return customer
        now = self._clock.monotonic()
        until, known = self._known.get((tenant, name), (now, None))
        if now >= until:
            known = await self._look(tenant, name)
            self._known[(tenant, name)] = (now + BELIEVED_SECONDS, known)
        if known is None:
            raise UnknownCustomer(f"there is no customer '{name}'")
        return known

    async def _look(self, tenant: str, name: str) -> Customer | None:
        try:
            return await self._with_credentials(await self._stored.find(tenant, name))
        except UnknownCustomer:
            return None

    async def of_tenant(self, tenant: str) -> list[Customer]:
        return await self._all(tenant)

    async def everybody(self) -> list[Customer]:
        return await self._all(None)

    async def _all(self, tenant: str | None) -> list[Customer]:
        found = {
            (one.tenant, one.slug): one for one in self._configured if tenant in (None, one.tenant)
        }
        for document in await self._stored.list(tenant):
            # Without credentials: whoever lists customers reads the lake, not Virtuoso.
            found.setdefault((document["tenant"], document["slug"]), _stored(document, "", None))
        return [found[key] for key in sorted(found)]

    async def _with_credentials(self, document: Json) -> Customer:
        tenant, slug = document["tenant"], document["slug"]
        name = document.get("token_secret") or f"virtuoso/{slug}/token"
        try:
            token = await self._secrets.get(tenant, name)
        except NotFound:
            raise CredentialsMissing(f"there is no secret '{name}'") from None
        session = document.get("session_secret")
        return _stored(document, token, session and await self._secrets.get(tenant, session))


def _configured(id_: str, source: CustomerSettings) -> Customer:
    access = Access(source.api_url, source.token, source.session_id)
    return Customer(source.tenant, id_, source.slug, access, active=source.active)


def _stored(document: Json, token: str, session: str | None) -> Customer:
    session_id = None if session is None else SecretStr(session)
    access = Access(document["api_url"], SecretStr(token), session_id)
    return Customer(
        tenant=document["tenant"],
        id=document["customer_id"],
        slug=document["slug"],
        access=access,
        active=document.get("active", True),
    )
