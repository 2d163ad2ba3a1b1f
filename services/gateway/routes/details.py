"""`/v1/executions/{id}/…`: steps, artifacts and their content, metrics, logs."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from services.gateway.errors import RangeNotSatisfiable
from services.gateway.models import LogFilter
from services.gateway.ranges import ByteRange, byte_range
from services.gateway.reading import ExecutionReader
from services.gateway.routes.answers import Listing
from services.gateway.routes.parameters import Cursor, Limit, Moment, number_cursor
from services.gateway.sealed_fields import ROLE
from shared.views.executions import ArtifactView, LogView, MetricView, StepView
from shared.web.auth import Caller
from shared.web.problems import build, title_of

_BYTES = {"content": {"application/octet-stream": {}}, "description": "The whole content."}
_PART = {"content": {"application/octet-stream": {}}, "description": "The range asked for."}


def build_router(reader: ExecutionReader) -> APIRouter:
    """Routes over what is known of one run."""
    router = APIRouter(prefix="/v1/executions/{execution_id}", tags=["executions"])
    _add_lists(router, reader)
    _add_content(router, reader)
    _add_logs(router, reader)
    return router


def _add_lists(router: APIRouter, reader: ExecutionReader) -> None:
    @router.get("/steps", summary="Steps in plan order")
    async def steps(
        execution_id: str, caller: Caller, cursor: Cursor = None, limit: Limit = 200
    ) -> Listing[StepView]:
        page = await reader.steps(
            caller.tenant,
            execution_id,
            after=number_cursor(cursor),
            limit=limit,
            decrypt=ROLE in caller.roles,
        )
        return Listing.of(page)

    @router.get("/artifacts", summary="Files that were kept")
    async def artifacts(
        execution_id: str, caller: Caller, cursor: Cursor = None, limit: Limit = 50
    ) -> Listing[ArtifactView]:
        page = await reader.artifacts(caller.tenant, execution_id, after=cursor, limit=limit)
        return Listing.of(page)

    @router.get("/metrics", summary="Use of resources over time")
    async def metrics(
        execution_id: str, caller: Caller, cursor: Cursor = None, limit: Limit = 200
    ) -> Listing[MetricView]:
        page = await reader.metrics(caller.tenant, execution_id, cursor=cursor, limit=limit)
        return Listing.of(page)


def _add_content(router: APIRouter, reader: ExecutionReader) -> None:
    @router.get(
        "/artifacts/{artifact_id}/content",
        response_class=Response,
        responses={200: _BYTES, 206: _PART, 416: {"description": "No such range."}},
        summary="Download a file, or a range of it",
    )
    async def content(
        execution_id: str,
        artifact_id: str,
        request: Request,
        caller: Caller,
        range_header: Annotated[
            str | None, Header(alias="Range", examples=["bytes=0-1023"])
        ] = None,
    ) -> Response:
        artifact = await reader.artifact(caller.tenant, execution_id, artifact_id)
        try:
            part = byte_range(range_header, artifact.size_bytes)
        except RangeNotSatisfiable as error:
            return _no_such_range(request, error, artifact.size_bytes)
        chunks = reader.content(artifact, start=part.start, length=part.length)
        return StreamingResponse(
            await _begun(chunks),
            status_code=206 if part.partial else 200,
            media_type=artifact.mime_type,
            headers=_content_headers(artifact, part),
        )


def _add_logs(router: APIRouter, reader: ExecutionReader) -> None:
    @router.get(
        "/logs",
        response_model=Listing[LogView],
        responses={200: {"content": {"text/plain": {}}}},
        summary="Log lines, as JSON or (Accept: text/plain) as text",
    )
    async def logs(
        execution_id: str,
        caller: Caller,
        step: Annotated[str | None, Query(description="Name or number of a step.")] = None,
        stream: Literal["stdout", "stderr", "system"] | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        cursor: Cursor = None,
        limit: Limit = 100,
        accept: Annotated[str, Header(include_in_schema=False)] = "",
    ) -> Listing[LogView] | Response:
        wanted = _log_filter(step, stream=stream, since=since, until=until)
        after = number_cursor(cursor)
        if accept.lower().startswith("text/plain"):
            text = reader.log_text(caller.tenant, execution_id, wanted, after=after)
            return StreamingResponse(await _begun(text), media_type="text/plain; charset=utf-8")
        page = await reader.logs(caller.tenant, execution_id, wanted, after=after, limit=limit)
        return Listing.of(page)


def _log_filter(
    step: str | None,
    *,
    stream: str | None,
    since: datetime | None,
    until: datetime | None,
) -> LogFilter:
    numbered = step is not None and step.isascii() and step.isdigit() and len(step) < 10
    return LogFilter(
        step_id=int(step) if step and numbered else None,
        step_name=None if numbered else step,
        stream=stream,
        since=since,
        until=until,
    )


async def _begun(chunks: AsyncIterator[str] | AsyncIterator[bytes]) -> AsyncIterator[str | bytes]:
    """The same chunks; what fails at the first of them fails here, while the answer can still say so."""
    try:
        first: str | bytes = await anext(chunks)
    except StopAsyncIteration:
        first = b""

    async def all_of_them() -> AsyncIterator[str | bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return all_of_them()


def _content_headers(artifact: ArtifactView, part: ByteRange) -> dict[str, str]:
    # attachment: nothing that a step wrote is ever shown as a page of ours
    name = quote(artifact.artifact_name.rsplit("/", 1)[-1])
    headers = {
        "accept-ranges": "bytes",
        "content-length": str(part.length),
        "content-disposition": f"attachment; filename*=UTF-8''{name}",
    }
    if part.partial:
        last = part.start + part.length - 1
        headers["content-range"] = f"bytes {part.start}-{last}/{artifact.size_bytes}"
    return headers


def _no_such_range(request: Request, error: RangeNotSatisfiable, size: int) -> Response:
    return build(
        request,
        status=416,
        code=error.code,
        title=title_of(type(error)),
        detail=error.message,
        headers={"content-range": f"bytes */{size}", "accept-ranges": "bytes"},
    )
