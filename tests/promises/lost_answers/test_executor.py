"""The executor loses answers of the database."""

import pytest

from tests.promises.crash_points.harness import MORE, QUICK
from tests.promises.lost_answers.executor_writes import EXECUTOR
from tests.promises.lost_answers.executors import LossyExecutor
from tests.promises.wire import Wire

pytestmark = [pytest.mark.breaks, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize("more", MORE)
def test_every_promise_holds(cadenza, more):
    """Each write once, in a way of the seed's; the long version has each in every way."""
    cadenza.service("gateway", **QUICK)
    with Wire(cadenza.mongo.port) as wire:
        chain = LossyExecutor.over(cadenza, "executor", wire, more=more)
        chain.strike_each(EXECUTOR, every=more > 0)
