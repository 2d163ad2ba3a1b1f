"""`/v1/queue`: which runs wait, and why. `/v1/workers`: who takes them; pause, resume, drain."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import AwareDatetime

from services.gateway.models import Page
from services.gateway.queue import Action, Code, QueueReader, Waiting, WorkerRequests
from services.gateway.routes.answers import Answer, Listing, requester
from services.gateway.routes.parameters import Cursor, Limit
from shared.views.workers import WorkerView
from shared.web.auth import Caller, Principal, require

Operator = Annotated[Principal, Depends(require("admin"))]


class WaitingRun(Answer):
    """A run that waits."""

    execution_id: str
    name: str | None = None
    status: str
    priority: int
    code: Code
    """Which of the reasons."""
    reason: str
    """The reason as a sentence, such as `key `db` busy, held by …`."""
    position: int | None = None
    """1: the next one. Runs of all tenants that wait for the same workers are counted."""
    requires: list[str]
    """Labels that its worker must have."""
    key: str | None = None
    """Its concurrency key."""
    start_by: AwareDatetime | None = None
    """If it has not started by then it ends as `timed_out(waiting_timeout)`."""
    created_at: AwareDatetime


class ToldWorker(Answer):
    """The worker will do so within a second or two."""

    worker_id: str
    action: Action
    state: str
    """Its state up to now."""


def build_router(reader: QueueReader, workers: WorkerRequests) -> APIRouter:
    """Routes over the use cases of waiting."""
    router = APIRouter(prefix="/v1", tags=["queue"])

    @router.get("/queue", summary="List waiting runs, with reason and position")
    async def waiting(
        caller: Caller, cursor: Cursor = None, limit: Limit = 50
    ) -> Listing[WaitingRun]:
        """In the order in which they will start, as things stand."""
        page = await reader.waiting(caller.tenant, after=cursor, limit=limit)
        return Listing.of(Page([_answer(one) for one in page.items], page.next_cursor))

    @router.get("/workers", summary="List workers")
    async def list_workers(
        caller: Caller, cursor: Cursor = None, limit: Limit = 50
    ) -> Listing[WorkerView]:
        """Those that may work for the caller's tenant."""
        found = await reader.workers(caller.tenant, after=cursor)
        more = len(found) > limit
        return Listing.of(Page(found[:limit], found[limit - 1].worker_id if more else None))

    @router.get("/workers/{worker_id}", summary="Read a worker")
    async def get(worker_id: str, caller: Caller) -> WorkerView:
        return await reader.worker(caller.tenant, worker_id)

    @router.post("/workers/{worker_id}/{action}", status_code=202, summary="Steer a worker")
    async def tell(
        worker_id: str, action: Action, request: Request, caller: Operator
    ) -> ToldWorker:
        """`pause` and `drain` take nothing new and let go on what runs; `resume` takes runs again. Needs role `admin`.
        May be repeated.
        """
        worker = await workers.tell(worker_id, action, requester(request, caller))
        return ToldWorker(worker_id=worker_id, action=action, state=worker.state)

    return router


def _answer(waiting: Waiting) -> WaitingRun:
    run = waiting.run
    return WaitingRun(
        execution_id=run.execution_id,
        name=run.name,
        status=run.status,
        priority=run.priority,
        code=waiting.code,
        reason=waiting.reason,
        position=waiting.position,
        requires=run.requires,
        key=run.hold["key"] if run.hold else None,
        start_by=run.start_by,
        created_at=run.created_at,
    )
