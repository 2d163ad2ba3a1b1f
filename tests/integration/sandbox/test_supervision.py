"""The sandbox as a whole, with one service: it comes up, finds its data again, and leaves no process behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from pymongo import MongoClient

from sandbox.ports import free_port

ROOT = Path(__file__).resolve().parents[3]
PORTS = (
    "KAFKA",
    "MONGO",
    "AWS",
    "VIRTUOSO",
    "GATEWAY",
    "PROXY",
    "EXECUTOR",
    "EXTRACTOR",
    "SCANNER",
)
DRIVER = """
import sys
from cli.sandboxed import stay
from rich.console import Console
import cli.sandboxed as sandboxed
from sandbox.settings import SandboxSettings
from sandbox.supervisor import Sandbox
sandboxed.Sandbox = lambda settings: Sandbox(settings, services=("proxy",))
console = Console()
try:
    with sandboxed.running_sandbox(SandboxSettings(), console) as sandbox:
        print("UP", *[part.pid for part in sandbox.parts], flush=True)
        stay(sandbox, console)
except Exception as error:
    print("FAILED", error, flush=True)
    sys.exit(1)
"""


class Driver:
    """A process with a sandbox in it."""

    def __init__(self, folder: Path) -> None:
        self.ports = {name: free_port() for name in PORTS}
        self.env = {f"SANDBOX__{name}_PORT": str(port) for name, port in self.ports.items()}
        self.env |= {
            "SANDBOX__DATA": str(folder),
            "PYTHONPATH": str(ROOT),
            "PATH": os.environ["PATH"],
        }
        self.env |= {
            name: os.environ[name] for name in ("HOME", "XDG_CACHE_HOME") if name in os.environ
        }
        self.process: subprocess.Popen[str] | None = None
        self.lines: list[str] = []

    def start(self) -> list[int]:
        """The pids of all parts, once everything is up."""
        self.lines = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER], env=self.env, stdout=subprocess.PIPE, text=True
        )
        for line in self.process.stdout:
            self.lines.append(line)
            if line.startswith("UP "):
                return [int(pid) for pid in line.split()[1:]]
        pytest.fail("".join(self.lines))

    def end(self, number: signal.Signals) -> float:
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(20)
        return time.monotonic() - began


@pytest.fixture
def driver(tmp_path):
    made = Driver(tmp_path / "data")
    yield made
    if made.process:
        made.process.kill()
        made.process.wait()
        made.process.stdout.close()


def survivors(pids: list[int], seconds: float = 5) -> list[int]:
    deadline = time.monotonic() + seconds
    while alive := [pid for pid in pids if _alive(pid)]:
        if time.monotonic() > deadline:
            return alive
        time.sleep(0.05)
    return []


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def families(pids: list[int]) -> list[int]:
    return [
        one.pid
        for pid in pids
        for one in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    ]


@pytest.mark.slow
def test_ctrl_c_ends_everything_within_five_seconds_and_the_next_start_finds_the_data(driver):
    pids = families(driver.start())
    uri = f"mongodb://127.0.0.1:{driver.ports['MONGO']}/?replicaSet=rs0"
    with MongoClient(uri) as client:
        assert "proxy_sessions" in client.cadenza.list_collection_names()
        client.cadenza.keep.insert_one({"_id": 1})
    assert driver.end(signal.SIGINT) < 5
    assert survivors(pids, 0) == []

    driver.process.stdout.close()
    driver.start()
    with MongoClient(uri) as client:
        assert client.cadenza.keep.find_one() == {"_id": 1}
    assert not any("formatting" in line for line in driver.lines)
    driver.end(signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.breaks
def test_a_killed_supervisor_leaves_no_process(driver):
    pids = families(driver.start())
    assert len(pids) >= 5
    driver.end(signal.SIGKILL)
    assert survivors(pids) == []


@pytest.mark.slow
@pytest.mark.breaks
def test_a_killed_service_is_started_again(driver):
    pids = driver.start()
    os.kill(pids[-1], signal.SIGKILL)
    line = next(line for line in driver.process.stdout if "Starting it again" in line)
    assert "proxy has ended" in line
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", driver.ports["PROXY"])) == 0:
                break
        time.sleep(0.1)
    else:
        pytest.fail("the proxy did not come back")
    driver.end(signal.SIGINT)


@pytest.mark.breaks
def test_a_taken_port_ends_the_start_with_one_sentence_and_no_process(driver):
    before = set(psutil.Process().children(recursive=True))
    with socket.create_server(("127.0.0.1", driver.ports["MONGO"])):
        done = subprocess.run(
            [sys.executable, "-c", DRIVER],
            env=driver.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 1
    assert f"Port {driver.ports['MONGO']}, which MongoDB needs, is taken" in failed[0]
    assert "Traceback" not in done.stdout + done.stderr
    assert set(psutil.Process().children(recursive=True)) == before
