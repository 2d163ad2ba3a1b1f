"""The executor dies between any two writes of a wait and its wake: whichever comes first, the run hears of it."""

import pytest

from tests.promises.crash_points.executors import ExecutorChain
from tests.promises.crash_points.harness import MORE, QUICK
from tests.promises.crash_points.table import WAITING

pytestmark = [pytest.mark.breaks, pytest.mark.slow, pytest.mark.timeout(600)]
EACH_TIME = 3


@pytest.mark.parametrize("more", MORE)
def test_every_promise_holds(cadenza, more):
    """Some of the points, chosen by the seed; the long version stops at each of them."""
    cadenza.service("gateway", **QUICK)
    chain = ExecutorChain(cadenza, "executor", more=more)
    chain.run(WAITING if more else chain.rng.sample(WAITING, EACH_TIME))
