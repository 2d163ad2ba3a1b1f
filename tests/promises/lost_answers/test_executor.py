"""The executor loses answers of the database: to every write once, each in every way."""

import pytest

from tests.promises.crash_points.harness import MORE, QUICK
from tests.promises.lost_answers.executor_writes import EXECUTOR
from tests.promises.lost_answers.executors import FAULTS, LossyExecutor
from tests.promises.wire import Wire

pytestmark = [pytest.mark.breaks, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize("more", MORE)
def test_every_promise_holds(cadenza, more):
    cadenza.service("gateway", **QUICK)
    with Wire(cadenza.mongo.port) as wire:
        LossyExecutor(cadenza, wire, more=more).strike(EXECUTOR, FAULTS)
