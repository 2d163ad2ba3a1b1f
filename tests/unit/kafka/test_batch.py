from shared.kafka.batches import Batch
from shared.kafka.records import Partition, Record


def a_record(partition: int, offset: int) -> Record:
    return Record(topic="t", partition=partition, offset=offset, key=None, value=b"")


def test_what_a_rebalance_takes_away_is_dropped_and_the_rest_keeps_its_order():
    records = [a_record(0, 5), a_record(0, 6), a_record(1, 1), a_record(0, 7)]
    batch = Batch(records)
    assert batch.kept() == records
    assert batch.drop([Partition("t", 0), Partition("other", 1)]) == 3
    assert batch.kept() == [records[2]]
    assert batch.keeps(records[2])
    assert not batch.keeps(records[0])
    assert batch.drop([Partition("t", 0)]) == 0
