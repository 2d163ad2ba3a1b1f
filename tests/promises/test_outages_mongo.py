"""MongoDB away for longer than a lease, alone or together with Kafka: one final state, the extra attempt in sight."""

import time

import psutil
import pytest

from tests.promises.outages import (
    Load,
    Watch,
    all_ended_once,
    effects,
    shell,
    wait_seconds_since,
)

pytestmark = [pytest.mark.breaks, pytest.mark.timeout(300)]


@pytest.mark.parametrize("first_back", ["kafka", pytest.param("mongo", marks=pytest.mark.chaos)])
def test_mongodb_away_for_longer_than_a_lease_and_then_both_at_once(fragile, tmp_path, first_back):
    gateway = fragile.service("gateway", GATEWAY__RELAY_GRACE_SECONDS="1")
    # longer than what a busy machine may keep it from renewing
    executor = fragile.service("executor", EXECUTOR__LEASE_SECONDS="5")
    mark, starts = tmp_path / "mark", tmp_path / "starts"
    long = fragile.submit(
        shell("true", "before"),
        shell(f"echo $$ >> {starts}; test $(wc -l < {starts}) -gt 1 || sleep 60", "long"),
    )
    fragile.until(starts.exists, what="the step to start")
    first = psutil.Process(int(starts.read_text().split()[0]))
    step = shell(f"echo $CADENZA_EXECUTION_ID >> {mark}")
    watching = Watch(fragile, executor), Watch(fragile, gateway)
    with watching[0] as of_executor, watching[1] as of_gateway, Load(fragile, step) as load:
        load.more(20)
        fragile.mongo.kill()
        begun = time.monotonic()
        assert of_executor.until_off("mongo")
        assert of_gateway.until_off("mongo")
        fragile.until(lambda: not alive(first), timeout=8, what="the owner to end its step")
        wait_seconds_since(begun, 10)
        assert load.answers["503"], "a quick no"
        fragile.mongo.start()
        of_executor.until_on()
        of_gateway.until_on()
        load.more(20)

        fragile.kafka.kill()
        fragile.mongo.kill()
        assert of_executor.until_off("mongo")
        assert of_executor.until_off("kafka")
        assert of_gateway.until_off("mongo")
        both = [fragile.kafka, fragile.mongo]
        for part in both if first_back == "kafka" else reversed(both):
            part.start()
        of_executor.until_on(within=60)
        of_gateway.until_on()
        load.more(20)
    documents = all_ended_once(fragile, [long, *load.accepted])
    assert {document["status"] for document in documents} == {"completed"}
    assert set(effects(mark)) == set(load.accepted)
    assert documents[0]["recoveries"] == 1
    attempts = [step["attempts"] for step in fragile.steps(long)]
    assert [len(tries) for tries in attempts] == [1, 2]
    assert attempts[1][0]["status"] == "lost"
    assert set(load.answers) <= {"202", "503"}, load.answers


def alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
