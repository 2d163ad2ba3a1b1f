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


@pytest.mark.parametrize(
    "point", [pytest.param("sources.recorded", marks=pytest.mark.chaos), "sources.filled"]
)
def test_whoever_takes_over_brings_the_commit_that_was_recorded(cadenza, tmp_path, point):
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


def test_neither_secrets_nor_encrypted_fields_stand_anywhere_in_clear(cadenza, tmp_path):
    """Documents, events, objects, answers and logs of a run that uses them in every way there is."""
    secret, session = "s3cret-of-the-shop", "session-of-ann-4711"
    repository = Repository(tmp_path / "repository")
    repository.commit(
        {"login.sh": f"""#!/bin/sh\necho "{{\\"s\\": \\"{session}\\"}}" >> $CADENZA_OUTPUT\n"""}
    )
    cadenza.service("gateway", **KEYS)
    cadenza.service("executor", **KEYS)
    with cadenza.client() as client:
        assert client.put("/v1/secrets/SHOP", json={"value": secret}).status_code == 200
        assert client.put("/v1/variables/URL", json={"value": "https://shop"}).status_code == 200
    execution_id = cadenza.submit(
        shell("./login.sh", "login") | {"encrypted_fields": ["output.s"]},
        shell('echo "$T $S ${{ vars.URL }}"; echo "{\\"t\\": \\"$T\\"}" >> $CADENZA_OUTPUT', "use")
        | {
            "env": {"T": "${{ secrets.SHOP }}", "S": "${{ steps.login.outputs.s }}"},
            "input": {"s": "${{ steps.login.outputs.s }}"},
            "encrypted_fields": ["input.s"],
        },
        shell("exit ${{ secrets.SHOP }}", "fail"),
        sources=[{"type": "git", "url": repository.url, "token": "${{ secrets.SHOP }}"}],
    )
    (document,) = cadenza.wait_final(execution_id)
    steps = cadenza.steps(execution_id)
    assert [step["status"] for step in steps] == ["completed", "completed", "failed"], document
    path = f"/v1/executions/{execution_id}"
    with cadenza.client() as client, cadenza.client("decrypt-key") as trusted:
        seen = [client.get(path + rest).text for rest in ("", "/steps", "/artifacts")]
        seen.append(client.get(path + "/logs", headers={"Accept": "text/plain"}).text)
        shown = client.get(path + "/steps").json()["items"]
        opened = trusted.get(path + "/steps").json()["items"]
    assert seen[3].startswith("[redacted] [redacted] https://shop\n")
    assert (shown[0]["output"], shown[1]["input"]) == ({"s": "[encrypted]"}, {"s": "[encrypted]"})
    assert (opened[0]["output"], opened[1]["input"]) == ({"s": session}, {"s": session})
    topics = ("run-requested", "execution-events", "execution-complete")
    seen += [str(cadenza.events(topic, settle=0.5)) for topic in topics]
    database = cadenza.database
    for name in database.list_collection_names():
        seen += [str(one) for one in database[name].find()]
    files = [*(tmp_path / "objects").rglob("*"), *tmp_path.glob("*.log")]
    seen += [one.read_bytes().decode("latin-1") for one in files if one.is_file()]
    everything = "\n".join(seen)
    assert "shop" in everything
    for value in (secret, session):
        for form in (value, base64.b64encode(value.encode()).decode()):
            assert form not in everything
