"""The extractor loses answers of the database, and two extractors work on the same executions."""

from typing import Any

import pytest

from services.extractor.repository import COLLECTIONS
from tests.promises.crash_points.extractors import ExtractorChain
from tests.promises.crash_points.harness import MORE, QUICK
from tests.promises.lost_answers.chain import Lossy
from tests.promises.lost_answers.writes import (
    Write,
    ended,
    inserting,
    sets_status,
    setting,
    updating,
)
from tests.promises.platform import platform
from tests.promises.wire import Wire

pytestmark = [pytest.mark.breaks, pytest.mark.slow, pytest.mark.timeout(600)]
ITEMS = "extractions"
_REPOSITORY = "services/extractor/repository.py:MongoExtractions"

EXTRACTOR = (
    Write("items of a batch", "shared/work/ingest.py:_insert_all", inserting(ITEMS)),
    Write(
        "claim",
        "shared/work/claims.py:Claims._take",
        updating(ITEMS, lambda _, u: sets_status(u, "running")),
    ),
    Write(
        "asked again",
        f"{_REPOSITORY}.ask_again",
        updating(ITEMS, lambda q, _: "asked" in q),
        "repeated",
    ),
    Write(
        "opened again",
        f"{_REPOSITORY}.reopen",
        updating(ITEMS, lambda q, _: q.get("again") is True),
        "repeated",
    ),
    Write("renewal", "shared/work/leases.py:Leases.renew", setting(ITEMS, "lease.until"), "slow"),
    Write("end", "shared/mongo/bulk.py:BulkWriter._send", ended(ITEMS, "completed")),
    Write(
        "events cleared",
        "shared/mongo/clearing.py:Clearing._clear",
        updating(ITEMS, lambda _, u: "events" in u.get("$pull", {})),
    ),
)


class LossyExtractor(Lossy, ExtractorChain):
    """The gateway has its own way to the database."""

    def repeated(self, module: Any) -> None:
        """The same execution is told of again and again, also while it is worked on."""
        self.mixed_once()
        while module.alive:
            self.tell(self.rng.choice(self.asked[-3:]), times=3)
            self.died(module, seconds=0.3)

    def slow(self, module: Any) -> None:
        """Renewals have something to prolong only while something is worked on."""
        while module.alive:
            self.mixed_once()


@pytest.mark.parametrize("more", MORE)
def test_every_promise_holds(kafka_process, mongo_process, tmp_path, more):
    with (
        platform(kafka_process, mongo_process, tmp_path, collections=COLLECTIONS) as it,
        Wire(mongo_process.port) as wire,
    ):
        it.service("gateway", **QUICK)
        chain = LossyExtractor.over(it, "extractor", wire, more=more)
        chain.strike_each(EXTRACTOR, every=more > 0)


@pytest.mark.parametrize("more", MORE)
def test_two_extractors_on_the_same_executions(kafka_process, mongo_process, tmp_path, more):
    """Each execution is told of several times, by several callers, while both work: one item, one row a version."""
    with platform(kafka_process, mongo_process, tmp_path, collections=COLLECTIONS) as it:
        it.service("gateway", **QUICK)
        chain = ExtractorChain(it, "extractor", more=more)
        modules = [chain.start(None), chain.start(None)]
        for _ in range(8):
            chain.mixed_once()
            for number in chain.rng.choices(chain.asked, k=5):
                chain.tell(number, times=chain.rng.choice((1, 2, 3)))
        chain.end()
        assert all(module.alive for module in modules)
        assert it.database.extractions.count_documents({}) == len(chain.asked)
