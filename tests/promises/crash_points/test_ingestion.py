"""The executor dies between any two writes of ingestion, cancelling, claiming and committing offsets."""

import pytest

from tests.promises.crash_points.executors import ExecutorChain
from tests.promises.crash_points.harness import MORE, QUICK
from tests.promises.crash_points.table import INGESTION

pytestmark = [pytest.mark.breaks, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize("more", MORE)
def test_every_promise_holds(cadenza, more):
    cadenza.service("gateway", **QUICK)
    ExecutorChain(cadenza, "executor", more=more).run(INGESTION)
