"""Sessions: a caller's place in Virtuoso (project, goal, version, journey, checkpoint) and the next free position.

Setting a parent clears what hangs below it and starts the position anew; a checkpoint is believed only after Virtuoso
has shown it.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from services.proxy.models import CONTEXT, Caller, Session, UpstreamRequest
from services.proxy.ports import Sessions, Upstream
from shared.errors import FieldError, InvalidRequest

MAX_METADATA_BYTES = 16 * 1024


class SessionService:
    """Use cases of `/v1/sessions`."""

    def __init__(self, *, sessions: Sessions, upstream: Upstream) -> None:
        self._sessions = sessions
        self._upstream = upstream

    async def open(
        self, *, caller: Caller, context: Mapping[str, int], metadata: Mapping[str, Any]
    ) -> Session:
        check_metadata(metadata)
        await self._check_checkpoint(context.get("checkpoint_id"))
        return await self._sessions.add(tenant=caller.tenant, context=context, metadata=metadata)

    async def get(self, id: str, *, caller: Caller) -> Session:
        return await self._sessions.get(id, tenant=caller.tenant)

    async def list(self, *, caller: Caller, limit: int, after: str | None) -> Sequence[Session]:
        return await self._sessions.list(tenant=caller.tenant, limit=limit, after=after)

    async def point(self, id: str, *, caller: Caller, changes: Mapping[str, int | None]) -> Session:
        """Set parts of the context (None clears one)."""
        if not changes:
            return await self.get(id, caller=caller)
        await self.get(id, caller=caller)
        await self._check_checkpoint(changes.get("checkpoint_id"))
        return await self._sessions.change(
            id, tenant=caller.tenant, context=with_children_cleared(changes)
        )

    async def end(self, id: str, *, caller: Caller) -> None:
        await self._sessions.end(id, tenant=caller.tenant)

    async def _check_checkpoint(self, checkpoint_id: int | None) -> None:
        """Raises UpstreamNotFound."""
        if checkpoint_id is not None:
            await self._upstream.send(UpstreamRequest("GET", f"/testcases/{checkpoint_id}"))


def with_children_cleared(changes: Mapping[str, int | None]) -> dict[str, int | None]:
    """The changes, and None for everything below the highest of them that they do not name."""
    highest = min(CONTEXT.index(name) for name in changes)
    return {name: changes.get(name) for name in CONTEXT[highest:]}


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """Raises InvalidRequest where the size limit is broken."""
    size = len(json.dumps(metadata, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    if size > MAX_METADATA_BYTES:
        message = f"metadata takes {size} bytes; {MAX_METADATA_BYTES} are allowed"
        raise InvalidRequest(message, errors=[FieldError("metadata", "too_large", message)])
