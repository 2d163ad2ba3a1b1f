"""`/v1/lake/query`: one SELECT over the tenant's executions."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from services.extractor.reading import Reading
from shared.web.auth import Caller


class QueryBody(BaseModel):
    """A question."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    sql: Annotated[
        str,
        Field(
            min_length=1,
            max_length=20_000,
            examples=["SELECT outcome, count(*) FROM executions GROUP BY 1"],
        ),
    ]
    """One SELECT over the table `executions`."""
    customer: Annotated[str | None, Field(max_length=64)] = None
    """Id or slug; without it all of the tenant's customers."""


class QueryAnswer(BaseModel):
    """Columns and rows; `truncated` when there were more rows than one answer may have."""

    columns: list[str]
    rows: list[list[Any]]
    truncated: bool
    elapsed_ms: float


def build_router(reading: Reading) -> APIRouter:
    """Routes of the lake."""
    router = APIRouter(prefix="/v1/lake", tags=["lake"])

    @router.post("/query")
    async def query(body: QueryBody, caller: Caller) -> QueryAnswer:
        """Read only; nothing but the tenant's own index can be reached."""
        found = await reading.ask(caller.tenant, body.sql, customer=body.customer)
        return QueryAnswer(
            columns=found.columns,
            rows=found.rows,
            truncated=found.truncated,
            elapsed_ms=found.elapsed_ms,
        )

    return router
