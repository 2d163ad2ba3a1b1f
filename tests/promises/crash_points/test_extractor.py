"""The extractor dies between any two writes of taking in a webhook, storing a version, and merging the index."""

import pytest

from services.extractor.repository import COLLECTIONS
from tests.promises.crash_points.extractors import ExtractorChain
from tests.promises.crash_points.harness import MORE, QUICK
from tests.promises.crash_points.table import EXTRACTOR
from tests.promises.platform import platform

pytestmark = [pytest.mark.breaks, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize("more", MORE)
def test_every_promise_holds(kafka_process, mongo_process, tmp_path, more):
    with platform(kafka_process, mongo_process, tmp_path, collections=COLLECTIONS) as it:
        it.service("gateway", **QUICK)
        ExtractorChain(it, "extractor", more=more).run(EXTRACTOR)
