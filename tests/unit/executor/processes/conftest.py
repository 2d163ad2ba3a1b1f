"""Guardians for the tests of this folder; none is left after a test."""

import os
import signal

import pytest

from tests.unit.executor.processes.contexts import alive
from tests.unit.executor.processes.guarded import Guarded


@pytest.fixture
def guard(tmp_path):
    started = []

    def start(body: str, **options) -> Guarded:
        started.append(Guarded(tmp_path, body, **options))
        return started[-1]

    yield start
    for guarded in started:
        if guarded.process.poll() is None:
            guarded.process.kill()
        guarded.process.wait()
        guarded.process.stderr.close()
        for name in () if guarded.elsewhere else ("worker", "daemon"):
            if guarded.read(name) and alive(int(guarded.read(name))):
                os.kill(int(guarded.read(name)), signal.SIGKILL)
