"""The machine itself misbehaves: its disk is full, the database's clock jumps, a service stands still."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox.mongo import Mongo
from tests.promises.outages import (
    Load,
    Watch,
    all_ended_once,
    effects,
    logged,
    shell,
    stopped,
    wait_seconds_since,
)
from tests.promises.platform import Platform, check_invariants, platform

pytestmark = [pytest.mark.breaks, pytest.mark.timeout(300)]

JUMP_SECONDS = 120


class ClockedMongo(Mongo):
    """A server whose wall clock the test may move while it runs."""

    def __init__(self, folder: Path, library: Path) -> None:
        super().__init__(folder)
        self._library = library
        self._file = folder / "clock"
        folder.mkdir(parents=True)
        self.move(0)

    def move(self, seconds: int) -> None:
        """Add this much to the true time from now on."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(seconds.to_bytes(8, "little", signed=True))

    def _command(self) -> list[str]:
        preload = [f"LD_PRELOAD={self._library}", f"CLOCK_FILE={self._file}"]
        return ["env", *preload, *super()._command()]


@pytest.fixture
def clocked(kafka_process, tmp_path) -> Iterator[Platform]:
    """A platform whose database has a clock of its own."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler for the clock of tests/promises/clock.c: install gcc")
    library = tmp_path / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True
    )
    mongo = ClockedMongo(tmp_path / "mongo", library)
    mongo.start()
    try:
        with platform(kafka_process, mongo, tmp_path) as it:
            yield it
    finally:
        mongo.kill()


@contextmanager
def disk_of_4_mb(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a disk of its own cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """The objects' folder on a disk of 4 MB."""
    with disk_of_4_mb(tmp_path / "objects") as folder:
        yield folder


@pytest.fixture
def small_work(tmp_path) -> Iterator[Path]:
    """The folder that runs work in on a disk of 4 MB."""
    with disk_of_4_mb(tmp_path / "work") as folder:
        yield folder


def test_a_full_disk_under_the_objects_and_one_under_the_work(cadenza, small_disk, small_work):
    gateway, executor = cadenza.service("gateway"), cadenza.service("executor")
    file = shell("head -c 100000 /dev/zero > report.bin", artifacts=[{"path": "report.bin"}])
    output = shell("""printf '{"text": "%0100000d"}\\n' 7 > $CADENZA_OUTPUT""")
    log = shell("head -c 200000 /dev/zero | tr '\\0' 'x'")
    patient = {"max_attempts": 20, "initial_delay_seconds": 0.5, "factor": 1}
    wanting = (file, output, log)
    with Watch(cadenza, executor) as readiness:
        ballast = fill(small_disk)
        ids = [cadenza.submit(step) for step in wanting]
        documents = cadenza.wait_final(*ids)
        assert {document["status"] for document in documents} == {"failed"}
        for document in documents:
            (step,) = cadenza.steps(document["_id"])
            assert step["reason"] == "storage_unavailable"
            assert "No space left on device" in step["error"], step["error"]
        plain = cadenza.submit(shell("echo nothing to keep"))
        assert cadenza.wait_final(plain)[0]["status"] == "completed"
        assert "No space left on device" in readiness.until_off("objects")
        large = {"name": "large", "steps": [shell("true", env={"X": "x" * 300_000})]}
        with cadenza.client() as client:
            answer = client.post("/v1/executions", json={"plan": large})
        assert answer.status_code == 503, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        waiting = cadenza.submit({**file, "retry": patient})
        cadenza.until(
            lambda: any(len(step["attempts"]) > 1 for step in cadenza.steps(waiting)),
            what="the step to be tried again",
        )
        ballast.unlink()
        assert cadenza.wait_final(waiting)[0]["status"] == "completed"
        readiness.until_on()
    again = [cadenza.submit(step) for step in wanting]
    assert {doc["status"] for doc in cadenza.wait_final(*again)} == {"completed"}
    with cadenza.client() as client:
        answer = client.post("/v1/executions", json={"plan": large})
    assert answer.status_code == 202
    cadenza.wait_final(answer.json()["execution_id"])
    unworkable = work_on_a_full_disk(cadenza, small_work)
    check_invariants(cadenza, [*ids, plain, waiting, *again, *unworkable])
    assert len(logged(executor, "objects.unavailable")) == 1, "said once"
    assert len(logged(executor, "objects.available")) == 1
    assert logged(gateway, "objects.unavailable")


def work_on_a_full_disk(it: Platform, folder: Path) -> list[str]:
    """What a program has no room for, and what the executor has none for; then there is room again."""
    step = {"name": "one", "command": {"type": "script", "source": "# " + "x" * 100_000}}
    wanting = (shell("head -c 100000 /dev/zero > file"), step)
    ballast = fill(folder)
    ids = [it.submit(one) for one in wanting]
    for document in it.wait_final(*ids):
        (step,) = it.steps(document["_id"])
        assert (step["status"], step["reason"]) == ("failed", "disk_full"), step
    idle = it.submit(shell("echo nothing to write"))
    assert it.wait_final(idle)[0]["status"] == "completed"
    ballast.unlink()
    again = [it.submit(one) for one in wanting]
    assert {document["status"] for document in it.wait_final(*again)} == {"completed"}
    return [*ids, idle, *again]


def test_the_clock_of_the_database_jumps(clocked, tmp_path):
    """Leases are judged by its time alone: the jump ends them, and nothing else goes by the difference."""
    clocked.service("gateway")
    executor = clocked.service("executor", EXECUTOR__RENEW_SECONDS="1.5")
    starts, mark = tmp_path / "starts", tmp_path / "mark"
    long = clocked.submit(
        shell(f"echo x >> {starts}; test $(wc -l < {starts}) -gt 1 || sleep 60", "long")
    )
    clocked.until(starts.exists, what="the step to start")
    renewed = lease(clocked, long)
    clocked.until(lambda: lease(clocked, long) != renewed, what="a renewal")
    clocked.mongo.move(
        JUMP_SECONDS
    )  # the next renewal is further off than the next look for lost leases
    (document,) = clocked.wait_final(long)
    assert (document["status"], document["recoveries"]) == ("completed", 1)
    (step,) = clocked.steps(long)
    assert [attempt["status"] for attempt in step["attempts"]] == ["lost", "completed"]
    check_invariants(clocked, [long])

    with Load(clocked, shell(f"echo $CADENZA_EXECUTION_ID >> {mark}; sleep 5")) as load:
        load.more(10)
    documents = all_ended_once(clocked, load.accepted)
    assert {document["status"] for document in documents} == {"completed"}
    assert {document["recoveries"] for document in documents} == {0}, "longer than a lease"
    assert effects(mark) == dict.fromkeys(load.accepted, 1)
    assert executor.alive


def test_services_that_stand_still_for_longer_than_a_lease(cadenza, tmp_path):
    """As a machine that was suspended: what it held goes on elsewhere, and it changes nothing when it wakes."""
    gateway, frozen = cadenza.service("gateway"), cadenza.service("executor")
    starts, mark = tmp_path / "starts", tmp_path / "mark"
    long = cadenza.submit(
        shell(f"echo x >> {starts}; test $(wc -l < {starts}) -gt 1 || sleep 60", "long")
    )
    cadenza.until(starts.exists, what="the step to start")
    other = cadenza.service("executor")
    with Load(cadenza, shell(f"echo $CADENZA_EXECUTION_ID >> {mark}")) as load:
        load.more(20)
        with stopped(frozen):
            document = cadenza.wait_final(long)[0]
            load.more(20)
        with stopped(gateway):
            wait_seconds_since(time.monotonic(), 4)
        load.more(20)
        if (
            not frozen.alive
        ):  # its guardian has ended it, and whoever runs services starts them again
            frozen.start()
        load.more(20)
    assert (document["status"], document["recoveries"]) == ("completed", 1)
    (step,) = cadenza.steps(long)
    assert [attempt["status"] for attempt in step["attempts"]] == ["lost", "completed"]
    documents = all_ended_once(cadenza, [long, *load.accepted])
    assert {document["status"] for document in documents} == {"completed"}
    assert set(effects(mark)) == set(load.accepted)
    assert starts.read_text() == "x\nx\n"
    assert other.alive


def lease(it: Platform, execution_id: str) -> object:
    document = it.execution(execution_id)
    return document["lease"]["until"] if document and document["lease"] else None


def fill(folder: Path) -> Path:
    """A file that leaves no room for another."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            return ballast
    raise AssertionError
