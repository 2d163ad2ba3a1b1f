"""An executor is killed while it brings the files of a run: the next one goes on with the same files."""

import base64
import json
import secrets

import pytest

from tests.promises.platform import check_invariants
from tests.promises.processes import shell
from tests.unit.executor.test_sources import Repository

pytestmark = [pytest.mark.breaks, pytest.mark.timeout(180)]
KEYS = {
    "SECURITY__ENCRYPTION_KEYS": json.dumps(
        {"k": base64.b64encode(secrets.token_bytes(32)).decode()}
    ),
    "EXECUTOR__GIT_PROTOCOLS": '["file"]',
}


@pytest.mark.parametrize("point", ["sources.recorded", "sources.filled"])
def test_whoever_takes_over_brings_the_commit_that_was_recorded(cadenza, tmp_path, point):
    assert point in ("sources.recorded", "sources.filled")
    repository = Repository(tmp_path / "repository")
    cadenza.service("gateway", **KEYS)
    first = cadenza.service("executor", crash=point, **KEYS)
    execution_id = cadenza.submit(
        shell("cat README.md", "read"),
        sources=[{"type": "git", "url": repository.url, "ref": "main"}],
    )
    cadenza.until(lambda: not first.alive, what=f"the executor to die at {point}")
    repository.commit({"README.md": "pushed meanwhile\n"})
    cadenza.service("executor", **KEYS)

    (document,) = cadenza.wait_final(execution_id, timeout=40)

    assert document["status"] == "completed", document["error"]
    assert [source["commit"] for source in document["sources"]] == [repository.first]
    log = cadenza.database.execution_logs.find({"execution_id": execution_id, "stream": "stdout"})
    assert "".join(line["text"] for line in log) == "first\n"
    with cadenza.client() as client:
        told = client.get(f"/v1/executions/{execution_id}").json()
    assert told["sources"][0]["commit"] == repository.first
    check_invariants(cadenza, [execution_id])
    left = list((tmp_path / "work" / "sources").iterdir())
    assert [one.suffix for one in left] == [".pack"], "nothing half-made is left"
