"""Folders of runs go, also for a user who may not enter all of them."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import psutil

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


ENDED = """
import asyncio, os, sys
from pathlib import Path
from services.executor.workspace import Workspace

workspace = Workspace(Path(sys.argv[1]), host="here")
asyncio.run(workspace.start())
workspace.folder_of("run", 1).mkdir()
print(workspace.root.name, flush=True)
os._exit(9)
"""


async def test_what_a_dead_process_left_goes_though_nobody_waited_for_it(tmp_path):
    dead = subprocess.Popen(
        [sys.executable, "-c", ENDED, str(tmp_path)],
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert dead.stdout is not None
    left = tmp_path / dead.stdout.readline().strip()
    assert dead.stdout.read() == "", "its end"
    while psutil.Process(dead.pid).status() != psutil.STATUS_ZOMBIE:
        await asyncio.sleep(0.01)
    assert (left / "run.1").is_dir()
    await Workspace(tmp_path, host="here").start()
    assert not left.exists()
    dead.communicate()


async def test_what_a_dead_process_left_goes_and_a_living_ones_stays(tmp_path):
    living = Workspace(tmp_path, host="here")
    await living.start()
    living.folder_of("run", 1).mkdir()
    (tmp_path / "here-1-5/run.1/deep").mkdir(parents=True)
    (tmp_path / "here-999999999-5").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "there-1-5").mkdir()
    starting = Workspace(tmp_path, host="here")
    await starting.start()
    assert {path.name for path in tmp_path.iterdir()} == {
        living.root.name,
        starting.root.name,
        "elsewhere",
        "there-1-5",
    }
    assert living.folder_of("run", 1).is_dir()


async def test_many_that_start_at_once_leave_each_other_alone(tmp_path):
    starting = [
        subprocess.Popen(
            [sys.executable, "-c", ENDED.replace("os._exit(9)", "sys.stdin.read()"), str(tmp_path)],
            env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    roots = {one.stdout.readline().strip() for one in starting}
    assert "" not in roots, "one of them has not started"
    assert {path.name for path in tmp_path.glob("*/run.1")} == {"run.1"}
    assert {path.parent.name for path in tmp_path.glob("*/run.1")} == roots
    assert len(roots) == len(starting)
    for one in starting:
        one.communicate()
