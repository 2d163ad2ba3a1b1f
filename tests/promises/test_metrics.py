"""`/metrics` of real processes tells what happened to real runs, and keeps telling while something is away."""

import httpx
import pytest

from tests.promises.platform import Platform


def read(module) -> dict[str, float]:
    """Series → value."""
    with httpx.Client(trust_env=False, timeout=20) as client:
        answer = client.get(f"{module.url}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    rows = [line.rpartition(" ") for line in answer.text.splitlines() if line[:1] != "#"]
    return {name: float(value) for name, _, value in rows if name}


def total(series: dict[str, float], beginning: str) -> float:
    return sum(value for name, value in series.items() if name.startswith(beginning))


def test_a_run_is_counted_on_its_whole_way(cadenza: Platform):
    executor, gateway = cadenza.service("executor"), cadenza.service("gateway")
    step = {"name": "a", "command": {"type": "shell", "command": "echo hello"}}
    bad = {"name": "a", "command": {"type": "shell", "command": "exit 3"}}
    ids = [cadenza.submit(step) for _ in range(5)] + [cadenza.submit(bad)]
    cadenza.wait_final(*ids)
    with cadenza.client() as client:
        assert client.get("/v1/executions/nobody").status_code == 404
        assert client.get("/no/such/page").status_code == 404

    cadenza.until(
        lambda: (
            total(read(executor), 'cadenza_events_published_total{topic="execution-complete"}') >= 6
        ),
        what="all ends to be published",
    )
    seen = read(executor)
    assert seen['cadenza_queue_ended_total{queue="executions",status="completed"}'] == 5
    assert seen['cadenza_queue_ended_total{queue="executions",status="failed"}'] == 1
    assert seen['cadenza_queue_claimed_total{queue="executions"}'] == 6
    assert seen['cadenza_steps_seconds_count{command="shell",status="completed"}'] == 5
    assert seen['cadenza_steps_seconds_count{command="shell",status="failed"}'] == 1
    assert seen["cadenza_logs_bytes_total"] >= 5 * len("hello\n")
    assert seen['cadenza_consumer_records_total{group="executor"}'] == 6
    assert seen['cadenza_queue_depth{queue="executions",status="queued"}'] == 0
    assert seen['cadenza_queue_slots{queue="executions"}'] > 0
    assert seen["cadenza_commit_size_count"] == seen["cadenza_commit_duration_seconds_count"] > 0
    assert seen['cadenza_ready{part="mongo"}'] == seen['cadenza_ready{part="kafka"}'] == 1
    assert seen["cadenza_process_memory_bytes"] > 10_000_000

    seen = read(gateway)
    assert seen['cadenza_requests_accepted_total{topic="run-requested"}'] == 6
    route = 'method="POST",route="/v1/executions",status="202"'
    assert seen[f"cadenza_http_requests_seconds_count{{{route}}}"] == 6
    unknown = 'method="GET",route="/v1/executions/{execution_id}",status="404"'
    assert seen[f"cadenza_http_requests_seconds_count{{{unknown}}}"] == 1
    assert total(seen, 'cadenza_http_requests_seconds_count{method="GET",route="unmatched"') == 1
    assert seen["cadenza_outbox_pending"] == 0
    text = " ".join([*seen, *read(executor)])
    assert not [secret for secret in (*ids, "acme", "nobody") if secret in text]


@pytest.mark.breaks
def test_metrics_answer_while_the_database_is_away(fragile: Platform):
    executor, mongo = fragile.service("executor"), 'cadenza_ready{part="mongo"}'
    fragile.mongo.kill()
    fragile.until(lambda: read(executor)[mongo] == 0, what="the executor to say so")
    assert read(executor)['cadenza_leases_renewals_total{queue="executions",outcome="failed"}'] > 0
    fragile.mongo.start()
    fragile.until(lambda: read(executor)[mongo] == 1, what="the executor to be well again")
