"""Secrets and variables as the gateway keeps them, read for the steps that name them.

What was read is remembered for a second, so that a plan of many short steps asks once. That something is not there is
not remembered. While the database is away the step waits, as all of the run does.
"""

import asyncio
import time
from collections.abc import Mapping

import structlog

from shared.errors import NotFound, StorageUnavailable
from shared.mongo.client import Database, Document, translated
from shared.security.encryption import Cipher, DecryptionFailed
from shared.views.tenant_values import (
    SECRETS,
    VARIABLES,
    SealedSecret,
    VariableView,
    document_id,
    sealing_context,
)

MOST = 1_000
AGAIN_SECONDS = 0.5
log = structlog.get_logger()


class SecretUnreadable(DecryptionFailed):
    """The secret cannot be opened with this executor's keys."""

    code = "secret_unreadable"


class _Remembering:
    """Documents of one collection by tenant and name; implements `SecretSource` but for what a document's value is."""

    collection: str
    kind: str
    projection: Mapping[str, int]

    def __init__(self, database: Database, *, seconds: float) -> None:
        self._collection = database[self.collection]
        self._seconds = seconds
        self._seen: dict[tuple[str, str], tuple[float, str]] = {}

    async def get(self, tenant: str, name: str) -> str:
        """Raises NotFound."""
        now = time.monotonic()
        found = self._seen.get((tenant, name))
        if found is not None and now - found[0] < self._seconds:
            return found[1]
        document = await self._read(tenant, name)
        if document is None:
            self._seen.pop((tenant, name), None)
            raise NotFound(f"there is no {self.kind} '{name}'", name=name)
        value = self._value(tenant, name, document)
        if len(self._seen) >= MOST:
            self._seen.clear()
        self._seen[tenant, name] = now, value
        return value

    def _value(self, tenant: str, name: str, document: Document) -> str:  # noqa: ARG002
        return VariableView.from_document(document).value

    async def _read(self, tenant: str, name: str) -> Document | None:
        query = {"_id": document_id(tenant, name), "tenant": tenant}
        while True:
            try:
                async with translated():
                    return await self._collection.find_one(query, self.projection)
            except StorageUnavailable:
                log.warning("tenant_values.waiting", kind=self.kind)
                await asyncio.sleep(AGAIN_SECONDS)


class MongoVariables(_Remembering):
    """Variables."""

    collection, kind, projection = VARIABLES, "variable", VariableView.projection()


class MongoSecrets(_Remembering):
    """Secrets: opened here and nowhere else."""

    collection, kind, projection = SECRETS, "secret", SealedSecret.projection()

    def __init__(self, database: Database, cipher: Cipher | None, *, seconds: float) -> None:
        super().__init__(database, seconds=seconds)
        self._cipher = cipher

    def _value(self, tenant: str, name: str, document: Document) -> str:
        """Raises SecretUnreadable."""
        if self._cipher is None:
            raise SecretUnreadable(f"secret '{name}': SECURITY__ENCRYPTION_KEYS is not set here")
        sealed = SealedSecret.from_document(document)
        try:
            return self._cipher.decrypt(
                sealed.value, context=sealing_context(tenant, name)
            ).decode()
        except DecryptionFailed as error:
            raise SecretUnreadable(f"secret '{name}': {error.message}") from None
