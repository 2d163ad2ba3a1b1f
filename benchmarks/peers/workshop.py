"""Where the peers are installed and run: a folder of their own, kept between two benchmarks."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from sandbox.errors import SandboxError

APPS = Path(__file__).parent / "apps"


class Workshop:
    """`.cadenza/peers`: one environment for each peer; data, sockets and logs of one measurement in `run`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = folder / "run"

    def clear(self) -> None:
        """Nothing of a former measurement is left."""
        shutil.rmtree(self.run, ignore_errors=True)
        self.run.mkdir(parents=True)
        self.run.chmod(0o777)

    @property
    def socket(self) -> Path:
        return self.run / "signals"

    def python(self, name: str, requirements: Sequence[str]) -> Path:
        """The interpreter of an environment that has exactly these packages installed."""
        folder = self.folder / name
        done = folder / "requirements"
        wanted = "\n".join(requirements)
        if not done.exists() or done.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            _run(name, [sys.executable, "-m", "venv", str(folder)])
            _run(name, [str(folder / "bin/pip"), "install", "--quiet", *requirements])
            done.write_text(wanted)
        return folder / "bin/python"

    def npm(self, name: str, package: str, program: str) -> Path:
        """A program out of an npm package of a fixed version."""
        folder = self.folder / name
        found = folder / "node_modules/.bin" / program
        if not found.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _run(
                name, ["npm", "install", "--silent", "--no-fund", "--prefix", str(folder), package]
            )
        return found

    @staticmethod
    def debian(program: str, package: str, *, places: str = "/usr/bin") -> Path:
        """A program of a Debian package. Raises SandboxError with the command that would install it."""
        found = sorted(Path("/").glob(f"{places.lstrip('/')}/{program}"))
        if not found:
            raise SandboxError(f"{program} is missing: apt-get install {package}")
        return found[-1]


def _run(name: str, command: list[str]) -> None:
    print(f"setting up {name} …", file=sys.stderr)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SandboxError(f"{name} cannot be set up: {(done.stderr or done.stdout)[-500:]}")
