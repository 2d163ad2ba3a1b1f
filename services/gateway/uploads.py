"""Use case: files that people upload for their runs, known by the SHA-256 of their bytes.

    receive into a file → note that bytes are coming → bytes → note that they are there

Whoever dies in between leaves a note that names the object, never bytes that nobody finds. Each try has an object of
its own, so that a removal never takes the bytes of a later upload. The same content again is the same upload.
"""

import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any

import structlog

from services.gateway.models import Kept, Page, Requester
from services.gateway.named_uploads import named_in
from services.gateway.ports import UploadRecords
from shared import crash
from shared.clock import Clock
from shared.errors import FieldError, InvalidRequest, NotFound, Overloaded, StorageUnavailable
from shared.ids import new_id
from shared.objects.ports import ObjectMissing, ObjectStore
from shared.ports import Audit
from shared.views.uploads import UploadView

LEFT_AFTER = timedelta(days=1)
"""Nobody stores or removes one upload for longer than this."""
BATCH = 100

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Room:
    """Where uploads are received, and how many at once."""

    folder: Path
    at_once: int


@dataclass(frozen=True, slots=True)
class _Received:
    path: str
    sha256: str
    size: int


class Uploads:
    """Stores, tells, removes."""

    def __init__(
        self,
        records: UploadRecords,
        objects: ObjectStore,
        audit: Audit,
        *,
        clock: Clock,
        room: Room,
        keep: timedelta,
    ) -> None:
        self._records = records
        self._objects = objects
        self._audit = audit
        self._clock = clock
        self._room = room
        self._keep = keep
        self._receiving = 0

    async def store(
        self,
        content: AsyncIterator[bytes],
        requester: Requester,
        *,
        name: str | None = None,
        expected: str | None = None,
    ) -> tuple[UploadView, bool]:
        """The upload, and whether it is new. Raises InvalidRequest, Overloaded, StorageUnavailable."""
        if self._receiving >= self._room.at_once:
            raise Overloaded("as many uploads as may be are under way", retry_after=5.0)
        self._receiving += 1
        try:
            with _spool(self._room.folder) as file:
                received = await _receive(content, file)
                _check(received, expected)
                view, new = await self._keep_it(received, requester, name)
        finally:
            self._receiving -= 1
        if new:
            await self._note(requester, "upload.create", view.sha256, size_bytes=view.size_bytes)
        return view, new

    async def get(self, tenant: str, sha256: str) -> UploadView:
        """Raises NotFound."""
        return _view(await self._records.find(tenant, sha256))

    async def list(self, tenant: str, *, after: str | None, limit: int) -> Page:
        """Newest first."""
        return await self._records.list(tenant, after=after, limit=limit)

    async def remove(self, sha256: str, requester: Requester) -> None:
        """Raises NotFound. Runs that still name it fail."""
        if not await self._remove(requester.tenant, sha256):
            raise NotFound(f"there is no upload {sha256}")
        await self._note(requester, "upload.delete", sha256)

    async def use(self, tenant: str, plan: Any) -> None:
        """A run is about to be accepted: what it names must be there, and is kept on. Raises InvalidRequest."""
        named = dict(named_in(plan))
        if not named:
            return
        missing = [
            FieldError(field, "unknown_upload", "there is no such upload")
            for field, sha256 in named.items()
            if await self._records.find(tenant, sha256) is None
        ]
        if missing:
            raise InvalidRequest(f"{missing[0].field}: {missing[0].message}", errors=missing)
        await self._records.prolong(tenant, list(named.values()), self._clock.now() + self._keep)

    async def sweep(self) -> bool:
        """Remove what nobody has used for long, and what killed processes left; a turn of a loop."""
        now = self._clock.now()
        for kept in await self._records.expired(now, limit=BATCH):
            sha256 = _view(kept).sha256
            used = await self._records.last_used(kept.tenant, sha256)
            if used is not None and used + self._keep > now:
                await self._records.prolong(kept.tenant, [sha256], used + self._keep)
            elif await self._remove(kept.tenant, sha256):
                log.info("upload.expired", tenant=kept.tenant, sha256=sha256)
        for kept in await self._records.left_over(now - LEFT_AFTER, limit=BATCH):
            await self._clear(kept)
        return False

    async def _keep_it(
        self, received: _Received, requester: Requester, name: str | None
    ) -> tuple[UploadView, bool]:
        tenant, now = requester.tenant, self._clock.now()
        expires_at = now + self._keep
        if await self._still_there(tenant, received.sha256):
            await self._records.prolong(tenant, [received.sha256], expires_at)
            return await self.get(tenant, received.sha256), False
        upload_id = new_id()
        key = f"{tenant}/uploads/{upload_id}"
        await self._records.begin(upload_id, tenant, key=key, expires_at=now)
        crash.point("upload.begun")
        info = await self._objects.put_file(key, received.path)
        crash.point("upload.stored")
        view = UploadView(
            sha256=received.sha256,
            name=name,
            size_bytes=received.size,
            created_at=now,
            created_by=requester.user,
            expires_at=expires_at,
        )
        if await self._records.finish(upload_id, view, uri=info.uri):
            return view, True
        await self._clear(Kept(upload_id, tenant, key))  # somebody else was quicker with the same
        return await self.get(tenant, received.sha256), False

    async def _still_there(self, tenant: str, sha256: str) -> bool:
        """True when the same is there from before, with its bytes."""
        kept = await self._records.find(tenant, sha256)
        if kept is None:
            return False
        try:
            await self._objects.info(kept.key)
        except ObjectMissing:
            await self._remove(tenant, sha256)
            return False
        return True

    async def _remove(self, tenant: str, sha256: str) -> bool:
        kept = await self._records.begin_removal(tenant, sha256, until=self._clock.now())
        if kept is None:
            return False
        crash.point("upload.removing")
        await self._clear(kept)
        return True

    async def _clear(self, kept: Kept) -> None:
        await self._objects.delete(kept.key)
        crash.point("upload.removed")
        await self._records.drop(kept.id)

    async def _note(self, requester: Requester, action: str, sha256: str, **details: int) -> None:
        await self._audit.record(
            tenant=requester.tenant,
            actor=requester.user,
            action=action,
            target=f"upload/{sha256}",
            details=details,
        )


def _view(kept: Kept | None) -> UploadView:
    if kept is None or kept.view is None:
        raise NotFound("there is no such upload")
    return kept.view


@contextmanager
def _spool(folder: Path) -> Iterator[IO[bytes]]:
    """A file that goes whatever happens."""
    try:
        with NamedTemporaryFile(dir=folder, prefix="cadenza-upload-") as file:
            yield file
    except OSError as error:
        raise StorageUnavailable(
            f"uploads cannot be received now: {error.strerror or error}", retry_after=30.0
        ) from error


async def _receive(content: AsyncIterator[bytes], file: IO[bytes]) -> _Received:
    digest, size = hashlib.sha256(), 0
    async for chunk in content:
        size += len(chunk)
        digest.update(chunk)
        file.write(chunk)
    file.flush()
    return _Received(file.name, digest.hexdigest(), size)


def _check(received: _Received, expected: str | None) -> None:
    if not received.size:
        message = "there is nothing in it"
        raise InvalidRequest(
            f"the upload is empty: {message}", errors=[FieldError("body", "empty", message)]
        )
    if expected is not None and expected != received.sha256:
        message = f"the bytes that came have the SHA-256 {received.sha256}"
        raise InvalidRequest(message, errors=[FieldError("sha256", "sha256", message)])
