"""Folders of runs go, also for a user who may not enter all of them."""

import os
import subprocess
import sys
from pathlib import Path

from services.executor.workspace import Workspace

ROOT = Path(__file__).parents[3]
CODE = """
import asyncio, os, sys
from pathlib import Path
from services.executor.workspace import Workspace

async def main():
    workspace = Workspace(Path(sys.argv[1]), host="here")
    await workspace.start()
    folder = workspace.folder_of("run", 1)
    (folder / "a/b/c").mkdir(parents=True)
    (folder / "a/b/c/file").touch()
    for path in (folder / "a/b/c", folder / "a/b", folder):
        path.chmod(0)
    workspace.remove(folder)
    assert not os.path.lexists(folder), "left"
    await workspace.stop()
    assert not workspace.root.exists()
asyncio.run(main())
"""


# Root may enter every folder, but for its capabilities.
PLAIN = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []


def test_folders_that_nobody_may_enter_are_removed(tmp_path):
    result = subprocess.run(
        [*PLAIN, sys.executable, "-c", CODE, str(tmp_path)],
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


async def test_what_a_dead_process_left_goes_and_a_living_ones_stays(tmp_path):
    living = Workspace(tmp_path, host="here")
    await living.start()
    living.folder_of("run", 1).mkdir()
    (tmp_path / "here-1-5/run.1/deep").mkdir(parents=True)
    (tmp_path / "here-999999999-5").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "there-1-5").mkdir()
    await Workspace(tmp_path, host="here").start()
    assert {path.name for path in tmp_path.iterdir()} == {
        living.root.name,
        "elsewhere",
        "there-1-5",
    }
    assert living.folder_of("run", 1).is_dir()
