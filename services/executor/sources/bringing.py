"""Use case: put the sources of a plan into a run's working directory.

    resolve each (what does the branch mean now?) → record it with the run → fetch what the cache lacks → unpack

What a source resolved to is durable before anything of it is used, so a run that moves to another owner goes on with
the same files, and everybody can see later what was run. Nothing is fetched twice at the same time in one process.
"""

import asyncio
import hashlib
import json
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from weakref import WeakValueDictionary

import structlog

from services.executor.folders import RunFolder
from services.executor.ports import Uploads
from services.executor.secrecy import RunSecrecy
from services.executor.sources import archives, pack
from services.executor.sources.cache import PackCache
from services.executor.sources.git import Attended, Git, Remote, Runner
from services.executor.sources.options import Size, SourceOptions
from services.executor.sources.problems import SourceFailed, SourceMissing, SourceTooLarge
from services.executor.sources.tree import Tree
from shared import crash
from shared.errors import TransientError
from shared.objects.ports import ObjectMissing, ObjectStore
from shared.plans.plan import Plan
from shared.plans.references import Values, as_text, parse, references_in, resolve
from shared.plans.source_rules import path_problem, ref_problem, url_problem
from shared.plans.sources import GitSource, InlineSource, UploadSource

AGAIN_SECONDS = 0.5
MOST_FILLED = 3
log = structlog.get_logger()

AnySource = GitSource | UploadSource | InlineSource
Record = dict[str, Any]
Note = Callable[[Sequence[Record]], Awaitable[None]]
"""Stores what the sources resolved to; durable when it returns."""


@dataclass(frozen=True, slots=True)
class Wanting:
    """The run that wants its files."""

    execution_id: str
    tenant: str
    plan: Plan
    inputs: Mapping[str, Any]
    folder: RunFolder
    stop: asyncio.Event
    secrecy: RunSecrecy
    recorded: Sequence[Record] = ()
    """What an earlier owner resolved them to."""


@dataclass(frozen=True, slots=True)
class _Resolved:
    """One source, after which only bytes are missing. `fill` writes the pack."""

    source: AnySource
    name: str
    record: Record
    fill: Callable[[Path, pack.Out], Awaitable[None]]
    cached: bool = True


class Sources:
    """Brings files to runs; shared by all runs of an executor."""

    def __init__(
        self,
        cache: PackCache,
        *,
        uploads: Uploads,
        objects: ObjectStore,
        processes: Runner,
        options: SourceOptions,
    ) -> None:
        self._cache = cache
        self._uploads = uploads
        self._objects = objects
        self._processes = processes
        self._options = options
        self._filling: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def bring(self, run: Wanting, note: Note) -> None:
        """Raises one of `problems`, NotFound for a secret or variable, OSError."""
        begun = time.monotonic()
        work = _Work(run, begun + self._options.timeout, run.folder.root / "sources")
        await asyncio.to_thread(_begin, work)
        resolved = [
            await self._patiently(partial(self._resolve, work, number, source), work)
            for number, source in enumerate(run.plan.sources)
        ]
        if not run.recorded:
            await note([one.record for one in resolved])
            crash.point("sources.recorded")
        for number, one in enumerate(resolved):
            await self._patiently(partial(self._place, work, number, one), work)
        await asyncio.to_thread(_end, work)
        seconds = round(time.monotonic() - begun, 3)
        log.info("sources.ready", execution_id=run.execution_id, seconds=seconds)

    async def _patiently(self, ask: Callable[[], Awaitable[Any]], work: "_Work") -> Any:
        """A store that is away for a moment ends no run."""
        while True:
            try:
                return await ask()
            except TransientError as error:
                if work.run.stop.is_set() or time.monotonic() > work.deadline:
                    raise SourceFailed(error.message) from error
            await asyncio.sleep(AGAIN_SECONDS)

    async def _resolve(self, work: "_Work", number: int, source: AnySource) -> _Resolved:
        record: Record = {"type": source.type, "mount": source.mount}
        match source:
            case GitSource():
                return await self._resolve_git(work, number, source, record)
            case UploadSource():
                return await self._resolve_upload(work.run.tenant, source, record)
        text = json.dumps(source.files, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        fill = partial(_fill_inline, source, self._options.room)
        record |= {"sha256": digest, "files": len(source.files)}
        return _Resolved(source, digest, record, fill, cached=False)

    async def _resolve_git(
        self, work: "_Work", number: int, source: GitSource, record: Record
    ) -> _Resolved:
        run = work.run
        url, ref, path = await _addresses(source, run)
        folder = work.folder / f"git-{number}"
        folder.mkdir(mode=0o700, exist_ok=True)
        token = await _secret(source.token, run)
        ssh_key = await _secret(source.ssh_key, run)
        git = Git(
            Remote(url, token, source.username, ssh_key),
            self._options.git,
            Attended(
                folder=folder,
                run=run.folder.root.name,
                deadline=work.deadline,
                cancel=run.stop,
                redactor=run.secrecy.redactor,
                inherited=self._options.inherited,
            ),
            processes=self._processes,
        )
        commit = _recorded(run, number, "commit") or await git.commit_of(ref)
        # whoever may not read the repository must not get it from the cache
        credential = source.token or source.ssh_key
        name = _name(run.tenant, "git", url, commit, path, credential)

        async def fill(place: Path, out: pack.Out) -> None:  # noqa: ARG001
            tar = await git.archive(commit, ref, path=path)
            await asyncio.to_thread(archives.repack, tar, out, self._options.room)

        record |= {"url": url, "ref": ref, "path": path, "commit": commit}
        return _Resolved(source, name, record, fill)

    async def _resolve_upload(self, tenant: str, source: UploadSource, record: Record) -> _Resolved:
        async def fill(place: Path, out: pack.Out) -> None:
            stored = await self._uploads.find(tenant, source.sha256)
            if stored is None:
                raise SourceMissing(f"there is no upload {source.sha256}")
            archive = place.with_suffix(".archive")
            await self._download(stored.uri, archive, source.sha256)
            await asyncio.to_thread(archives.repack, archive, out, self._options.room)
            archive.unlink()

        record["sha256"] = source.sha256
        return _Resolved(source, _name(tenant, "upload", source.sha256), record, fill)

    async def _download(self, uri: str, place: Path, sha256: str) -> None:
        digest, size = hashlib.sha256(), 0
        with place.open("wb") as file:
            try:
                async for chunk in self._objects.stream(self._objects.key_of(uri)):
                    size += len(chunk)
                    if size > self._options.room.bytes:
                        most = self._options.room.bytes
                        raise SourceTooLarge(f"the upload {sha256} has more than {most} bytes")
                    digest.update(chunk)
                    file.write(chunk)
            except ObjectMissing:
                raise SourceMissing(f"the bytes of upload {sha256} are gone") from None
        if digest.hexdigest() != sha256:
            raise SourceFailed(f"the bytes of upload {sha256} have been altered")

    async def _place(self, work: "_Work", number: int, one: _Resolved) -> None:
        """Unpack one source where it belongs. A pack that somebody has altered is fetched again."""
        for _ in range(MOST_FILLED):
            file = await self._pack(work, number, one)
            try:
                unpacked = await asyncio.to_thread(self._unpack, work, number, one, file)
            finally:
                file.close()
            if unpacked:
                return
            await asyncio.to_thread(self._cache.drop, one.name)
        raise SourceFailed("somebody alters the cache of this executor again and again")

    async def _pack(self, work: "_Work", number: int, one: _Resolved) -> BinaryIO:
        lock = self._filling.setdefault(one.name, asyncio.Lock())
        async with lock:
            if one.cached and (found := await asyncio.to_thread(self._cache.open, one.name)):
                return found
            place = work.folder / f"{number}.pack"
            with closing(self._cache.draft(one.name, place)) as draft:
                await one.fill(place, draft)
                draft.seal()
            file = self._cache.open_at(place)
            if file is None:
                raise SourceFailed("a pack was removed while it was made")
            if one.cached:
                crash.point("sources.filled")
                await asyncio.to_thread(self._cache.keep, one.name, place)
            return file

    def _unpack(self, work: "_Work", number: int, one: _Resolved, file: BinaryIO) -> bool:
        """False when the pack was altered."""
        run, source = work.run, one.source
        tree = work.folder / f"{number}.tree"
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir(mode=0o755)
        folders: list[str] = []

        def into(read: pack.Read) -> None:
            folders.extend(pack.unpack(read, tree, writable=source.writable, uid=run.folder.uid))

        if not self._cache.unpack(one.name, file, into):
            return False
        mount = _mounted(tree, work, source)
        pack.close((mount / folder for folder in folders), writable=source.writable)
        return True


@dataclass(frozen=True, slots=True)
class _Work:
    run: Wanting
    deadline: float
    folder: Path
    """Private to the executor."""
    made: set[Path] = field(default_factory=set)
    """Folders above mounts."""


def _begin(work: _Work) -> None:
    work.run.folder.begin_filling()
    work.folder.mkdir(mode=0o700)


def _end(work: _Work) -> None:
    shutil.rmtree(work.folder)
    work.run.folder.end_filling()


def _mounted(tree: Path, work: _Work, source: AnySource) -> Path:
    """Move a tree to its place in the working directory. Nobody else is in there yet."""
    folder = work.run.folder
    if Path(source.mount) == Path():
        for child in list(tree.iterdir()):
            _move(child, folder.working_dir / child.name, source)
        return folder.working_dir
    mount = folder.working_dir
    for part in Path(source.mount).parts[:-1]:
        mount /= part
        if mount not in work.made:
            _refuse_taken(mount, source)
            mount.mkdir()
            folder.give(mount)
            work.made.add(mount)
    mount /= Path(source.mount).name
    _move(tree, mount, source)
    if source.writable:
        folder.give(mount)
    else:
        mount.chmod(0o555)
    return mount


def _move(path: Path, place: Path, source: AnySource) -> None:
    _refuse_taken(place, source)
    path.rename(place)


def _refuse_taken(place: Path, source: AnySource) -> None:
    if os.path.lexists(place):
        raise SourceFailed(
            f"'{place.name}' comes from two sources: give the one with mount '{source.mount}' another"
        )


async def _fill_inline(source: InlineSource, room: Size, place: Path, out: pack.Out) -> None:  # noqa: ARG001
    tree = Tree(pack.PackWriter(out, room))
    for name, text in source.files.items():
        data = text.encode()
        tree.file(name, BytesIO(data).read, len(data), executable=data.startswith(b"#!"))


async def _addresses(source: GitSource, run: Wanting) -> tuple[str, str, str | None]:
    """URL, ref and path with their references resolved."""
    texts = [source.url, source.ref, source.path or ""]
    names = {one.name for one in references_in(texts) if one.root == "vars"}
    values = Values(
        inputs={**run.plan.inputs, **run.inputs}, vars=await run.secrecy.variables(names)
    )
    url, ref, path = (as_text(resolve(text, values)) for text in texts)
    problems = (
        (url_problem(url) or ("", None))[1],
        ref_problem(ref),
        path_problem(path) if path else None,
    )
    for what, problem in zip(("url", "ref", "path"), problems, strict=True):
        if problem:
            raise SourceFailed(f"the {what} of a git source {problem}")
    return url, ref, path or None


async def _secret(text: str | None, run: Wanting) -> str | None:
    return None if text is None else await run.secrecy.secret(parse(text.strip()[3:-2]).name)


def _recorded(run: Wanting, number: int, field: str) -> str | None:
    return run.recorded[number].get(field) if number < len(run.recorded) else None


def _name(*parts: str | None) -> str:
    """One word for all of them."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
