from datetime import date

import pytest

from services.extractor.lake.keys import CustomerKeys
from services.extractor.lake.moments import day_of, iso, moment, whole
from tests.builders.extractions import a_record

DAY = date(2024, 7, 16)


def test_the_layout():
    keys = CustomerKeys("", "customer-001")
    assert keys.envelope(DAY, 88715) == "customer-001/2024/07/16/execution-88715.json"
    assert keys.raw(DAY, 88715, "goal-1") == (
        "customer-001/2024/07/16/execution-88715.raw/goal-1.json"
    )
    assert keys.metadata(DAY) == "customer-001/2024/07/16/metadata.json"
    assert keys.parquet == "customer-001/index/executions.parquet"
    assert keys.schema == "_schemas/execution-v1.json"
    assert CustomerKeys("demo/lake", "a").schema == "demo/lake/_schemas/execution-v1.json"


@pytest.mark.parametrize("slug", ["", "../x", "a/b", "A", "-a", "a.b", "x" * 64])
def test_a_slug_cannot_leave_its_place(slug):
    with pytest.raises(ValueError, match="cannot stand in a key"):
        CustomerKeys("demo/lake", slug)


def test_the_day_is_the_start_in_utc():
    assert day_of({"startDate": 1721087999999, "endDate": 1721088000001}) == date(2024, 7, 15)
    assert day_of({"startDate": None, "submitDate": 1721088000000}) == DAY
    assert a_record().day == DAY


def test_moments():
    assert iso(moment(1721125500001)) == "2024-07-16T10:25:00.001Z"
    assert moment("x") is None
    assert moment(10**20) is None
    assert whole(True) is None
    assert whole(3.0) == 3
    assert whole(3.5) is None


def test_every_object_has_its_copy():
    record = a_record()
    assert set(record.copies()) == set(record.contents())
    assert "demo/lake/customer-001/2024/07/16/execution-88715.json" in record.copies().values()
