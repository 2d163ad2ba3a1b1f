"""`cadenza demo`: the main job on the real parts, and again on the data of the first time."""

import json

import pytest

from tests.e2e.conftest import everything_of


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_demo_does_the_main_job_twice_and_leaves_nothing_behind(platform):
    first = platform.call("demo", "--once", "--json")
    assert first.returncode == 0, first.stderr
    results = json.loads(first.stdout)["results"]
    assert results["run"]["status"] == "completed"
    assert results["run"]["artifact"]["artifact_type"] == "report"
    assert results["extraction"]["status"] == "completed"
    assert results["lake"]["rows"]
    assert results["proxy"]["created"]["step_id"]
    assert results["scan"]["resources"] == 7
    assert everything_of(platform) == []

    second = platform.call("demo", "--once", "--json")
    assert second.returncode == 0, second.stderr
    assert "formatting the storage" not in second.stderr
    again = json.loads(second.stdout)["results"]
    assert again["extraction"]["outcome"] == "unchanged"
    assert again["lake"]["rows"] == results["lake"]["rows"]
    assert again["run"]["execution_id"] != results["run"]["execution_id"]
