"""Kafka's jars: fetched once from Maven Central by coordinate, kept in the cache folder, checked at every start.

`kafka-jars.sha256` is the checked-in list of what is expected; a jar with other bytes, a missing and an additional one
are all refused. `python -m sandbox.jars VERSION` writes the list anew, for an upgrade.
"""

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from sandbox.errors import ChecksumMismatch, DiskFull, FetchFailed

# 4.4.0 is newer, but its artefact `kafka-tools-api` is not on Maven Central.
VERSION = "4.3.1"
LIST = Path(__file__).with_name("kafka-jars.sha256")
# Without a binding Kafka is silent about why it does not start.
_LOGGING = "org.slf4j:slf4j-simple:1.7.36"


def kafka_jars(cache: Path, *, expected: Mapping[str, str] | None = None) -> list[Path]:
    """The class path; fetches what is not in the cache."""
    folder = cache / f"kafka-{VERSION}"
    wanted = read_list(LIST) if expected is None else expected
    if not folder.exists():
        fetch(folder, VERSION, wanted)
    check(folder, wanted)
    return [folder / name for name in sorted(wanted)]


def cached(cache: Path) -> bool:
    """True when nothing has to be fetched."""
    return (cache / f"kafka-{VERSION}").exists()


def fetch(folder: Path, version: str, expected: Mapping[str, str] | None = None) -> None:
    """Fill `folder` whole or not at all; with `expected`, only by the files listed there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        fresh = Path(temporary) / "jars"
        fresh.mkdir()
        try:
            for jar in resolve(version):
                shutil.copy(jar, fresh / jar.name)
        except OSError as error:
            raise DiskFull(f"Kafka cannot be kept in {folder.parent}: {error}.") from None
        if expected is not None:
            check(fresh, expected)
        try:
            fresh.rename(folder)
        except OSError:
            if not folder.exists():  # else another process was faster
                raise


def resolve(version: str) -> list[Path]:
    """Let jgo download Kafka and what it depends on."""
    import jgo

    try:
        return list(jgo.build(f"org.apache.kafka:kafka_2.13:{version}+{_LOGGING}").all_jars)
    except Exception as error:  # noqa: BLE001 - jgo and its HTTP library raise whatever they like
        raise FetchFailed(
            f"Kafka {version} could not be fetched from Maven Central ({_first_line(error)}): check "
            "the network, or set KAFKA__BOOTSTRAP_SERVERS to a Kafka of your own."
        ) from None


def check(folder: Path, expected: Mapping[str, str]) -> None:
    """ChecksumMismatch unless the folder holds exactly the files listed."""
    found = {path.name: _sha256(path) for path in folder.iterdir()}
    wrong = sorted(
        name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)
    )
    if wrong:
        raise ChecksumMismatch(
            f"{', '.join(wrong)} in {folder} is not what {LIST.name} lists: "
            "remove that folder to fetch it again."
        )


def read_list(path: Path) -> dict[str, str]:
    """File name → SHA-256, from lines as `sha256sum` prints them."""
    lines = (line.split() for line in path.read_text("ascii").splitlines() if line.strip())
    return {name: digest for digest, name in lines}


def write_list(folder: Path, path: Path) -> None:
    """Write the list of what lies in `folder`."""
    jars = sorted(folder.iterdir(), key=lambda jar: jar.name)
    path.write_text("".join(f"{_sha256(jar)}  {jar.name}\n" for jar in jars), "ascii")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: Exception) -> str:
    """What people can read of an error; the long ones of HTTP libraries say no more than their name."""
    line = next(iter(str(error).splitlines()), "")
    return line if 0 < len(line) <= 120 else type(error).__name__


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        fetch(Path(scratch) / "kafka", sys.argv[1])
        write_list(Path(scratch) / "kafka", LIST)
