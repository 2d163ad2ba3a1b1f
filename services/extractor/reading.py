"""Reading what came of extractions, and asking questions to the lake; always inside the caller's tenant."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from services.extractor.errors import ExtractionMissing, UnknownCustomer
from services.extractor.lake.index import LakeIndex
from services.extractor.lake.keys import CustomerKeys
from services.extractor.lake.query import LakeQuery, QueryResult
from services.extractor.lake.schema import ROWS
from services.extractor.models import Customer, extraction_id
from services.extractor.paging import cursor_of
from services.extractor.ports import Customers, Extractions


@dataclass(frozen=True, slots=True)
class Page:
    """Some extractions, newest first, and the cursor of the next page."""

    items: Sequence[Mapping[str, Any]]
    next: str | None


class Reading:
    """What callers may know."""

    def __init__(
        self,
        *,
        extractions: Extractions,
        customers: Customers,
        index: LakeIndex,
        query: LakeQuery,
        keys: Callable[[Customer], CustomerKeys],
    ) -> None:
        self._extractions = extractions
        self._customers = customers
        self._index = index
        self._query = query
        self._keys = keys

    async def get(self, tenant: str, customer: str, execution_id: str) -> Mapping[str, Any]:
        """Raises ExtractionMissing."""
        slug = await self._slug(tenant, customer)
        found = await self._extractions.get(extraction_id(tenant, slug, execution_id))
        if found is None or found["tenant"] != tenant:
            raise ExtractionMissing(
                f"nobody has asked for execution {execution_id} of customer '{customer}'"
            )
        return found

    async def page(
        self,
        tenant: str,
        *,
        customer: str | None,
        status: str | None,
        after: str | None,
        limit: int,
    ) -> Page:
        """`after` is the cursor that the page before gave."""
        slug = None if customer is None else await self._slug(tenant, customer)
        found = await self._extractions.page(
            tenant, customer=slug, status=status, after=after, limit=limit + 1
        )
        following = cursor_of(found[limit - 1]) if len(found) > limit else None
        return Page(found[:limit], following)

    async def ask(self, tenant: str, sql: str, *, customer: str | None) -> QueryResult:
        """Answer a question over all of the tenant's customers, or over one. Raises BadQuery, UnknownCustomer."""
        if customer is None:
            customers = await self._customers.of_tenant(tenant)
        else:
            customers = [await self._customers.find(tenant, customer)]
        tables = await asyncio.gather(*(self._index.read(self._keys(one)) for one in customers))
        return await self._query.run(sql, pa.concat_tables([ROWS.empty_table(), *tables]))

    async def _slug(self, tenant: str, customer: str) -> str:
        """A name that no customer has may still have recorded failures."""
        try:
            return (await self._customers.find(tenant, customer)).slug
        except UnknownCustomer:
            return customer
