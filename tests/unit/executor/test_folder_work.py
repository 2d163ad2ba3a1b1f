"""Folders are made and removed together, off the event loop."""

import asyncio
import threading

import pytest

from services.executor import folder_work
from services.executor.folder_work import FolderWork
from services.executor.folders import RunFolder


async def a_folder(it, root):
    folder = RunFolder(root)
    of_try = folder.of_try(1, "a")
    assert not folder.is_made(of_try)
    await it.do(lambda: folder.make(of_try))
    assert folder.is_made(of_try)
    return folder


async def test_what_is_empty_goes_and_what_holds_something_stays(tmp_path):
    it = FolderWork()
    empty, full = await a_folder(it, tmp_path / "empty"), await a_folder(it, tmp_path / "full")
    (full.working_dir / "file").write_text("x")
    assert await asyncio.gather(it.do(empty.remove_empty), it.do(full.remove_empty)) == [
        True,
        False,
    ]
    assert not empty.root.exists()
    assert (full.working_dir / "file").read_text() == "x"


async def test_an_error_is_that_of_its_own_caller(tmp_path):
    (tmp_path / "taken").write_text("no folder")
    it = FolderWork()
    fine, bad = await asyncio.gather(
        a_folder(it, tmp_path / "fine"),
        a_folder(it, tmp_path / "taken" / "below"),
        return_exceptions=True,
    )
    assert fine.working_dir.is_dir()
    assert isinstance(bad, NotADirectoryError)
    with pytest.raises(FileExistsError):
        await it.do((tmp_path / "fine").mkdir)


async def test_those_that_come_while_a_thread_is_at_work_are_the_next_group(tmp_path, monkeypatch):
    begun, go_on, groups = threading.Event(), threading.Event(), []
    do = folder_work._do
    it = FolderWork()
    folders = [await a_folder(it, tmp_path / str(n)) for n in range(5)]

    def slow(jobs):
        groups.append(len(jobs))
        begun.set()
        assert go_on.wait(10)
        do(jobs)

    monkeypatch.setattr(folder_work, "_do", slow)
    first = asyncio.create_task(it.do(folders[0].remove_empty))
    await asyncio.to_thread(begun.wait, 10)
    others = [asyncio.create_task(it.do(folder.remove_empty)) for folder in folders[1:]]
    await asyncio.sleep(0)
    others[0].cancel()  # nobody waits for it any more; it is done all the same
    await asyncio.sleep(0)
    go_on.set()
    assert await first
    assert all(await asyncio.gather(*others[1:]))
    assert groups == [1, 4]
    assert list(tmp_path.iterdir()) == []
