"""A rerun is a run of its own: what has ended stays as it is. And what a cancelled run may still do."""

import os
import signal

import pytest

from tests.builders.runs import a_step
from tests.promises.platform import check_invariants, platform

GRAPH = {"type": "dependency_graph"}


@pytest.fixture(scope="module")
def cadenza(kafka_process, mongo_process, tmp_path_factory):
    """One platform for all of them: each looks at its own runs only."""
    with platform(kafka_process, mongo_process, tmp_path_factory.mktemp("reruns")) as it:
        it.service("gateway")
        it.service("executor", EXECUTOR__INLINE_OUTPUT_BYTES="1024")
        yield it


def shell(command, name="one", **more):
    return a_step(name, command={"type": "shell", "command": command}, **more)


def frozen(cadenza, execution_id):
    """Everything that is stored of a run."""
    names = ("execution_steps", "execution_logs", "execution_artifacts")
    found = [
        list(cadenza.database[n].find({"execution_id": execution_id}).sort("_id")) for n in names
    ]
    return cadenza.execution(execution_id), found


def settled(cadenza, execution_id):
    """Once all of its events are out, so that nothing of it changes any more."""
    check_invariants(cadenza, [execution_id])
    return frozen(cadenza, execution_id)


def rerun(cadenza, execution_id, body=None, *, key="acme-key", **headers):
    with cadenza.client(key) as client:
        return client.post(f"/v1/executions/{execution_id}/rerun", json=body or {}, headers=headers)


def test_a_rerun_goes_on_from_the_failed_step_and_changes_nothing_of_the_first(cadenza, tmp_path):
    mark, mended = tmp_path / "mark", tmp_path / "mended"
    large = """python3 -c 'print("{\\"text\\": \\"" + "x" * 5000 + "\\"}")' >> "$CADENZA_OUTPUT" """
    first = cadenza.submit(
        shell(f"echo build >> {mark}; {large}", "build"),
        shell(f"echo other >> {mark}", "other"),
        shell(f"""sleep 1; echo ${{{{ steps.build.outputs.text }}}} | wc -c > {mark}.size
            test -e {mended}""", "test", needs=["build"]),
        shell(f"echo report >> {mark}", "report", needs=["test", "other"]),
        shell(f"echo clean >> {mark}", "clean", needs=["test"], always=True),
        strategy=GRAPH,
    )  # fmt: skip
    assert rerun(cadenza, first).status_code == 409
    (document,) = cadenza.wait_final(first)
    assert document["status"] == "failed"
    before = settled(cadenza, first)
    mended.touch()

    assert rerun(cadenza, first, key="other-key").status_code == 404
    wrong = rerun(cadenza, first, {"from": "biuld"})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "from")
    assert "did you mean 'build'" in wrong.text
    answers = [rerun(cadenza, first, **{"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    second = answers[0].json()["execution_id"]
    assert answers[1].json()["execution_id"] == second
    assert answers[0].json()["reused"] == 2
    (document,) = cadenza.wait_final(second)

    assert document["status"] == "completed", document
    assert (document["rerun_of"], document["family_id"]) == (first, first)
    steps = {step["step_name"]: step for step in cadenza.steps(second)}
    assert {n: s["reason"] for n, s in steps.items()} == {
        "build": "reused", "other": "reused", "test": None, "report": None, "clean": None
    }  # fmt: skip
    assert steps["build"]["reused_from"] == first
    assert sorted(mark.read_text().split()) == ["build", "clean", "clean", "other", "report"]
    assert int((tmp_path / "mark.size").read_text()) == 5001, (
        "the large output came from the first run"
    )
    assert settled(cadenza, first) == before
    check_invariants(cadenza, [first, second])

    nothing = rerun(cadenza, second)
    assert (nothing.status_code, nothing.json()["type"]) == (
        409,
        "urn:cadenza:problem:nothing_failed",
    )
    third = rerun(cadenza, second, {"from": "report"}).json()
    assert third["reused"] == 3
    cadenza.wait_final(third["execution_id"])
    assert cadenza.steps(third["execution_id"])[0]["reused_from"] == first
    with cadenza.client() as client:
        family = client.get(f"/v1/executions/{second}/family").json()
        drawn = client.get(f"/v1/executions/{second}/plan", headers={"Accept": "text/vnd.mermaid"})
    assert (family["status"], family["family_id"]) == ("completed", first)
    assert [one["status"] for one in family["items"]] == ["failed", "completed", "completed"]
    assert "s1 --> s3" in drawn.text
    assert "class s1,s2,s3,s4,s5 completed" in drawn.text


def test_a_rerun_that_loses_its_worker_runs_again_only_what_it_has_to(cadenza, tmp_path):
    mark, mended = tmp_path / "mark", tmp_path / "mended"
    first = cadenza.submit(
        shell(f"echo a >> {mark}; echo '{{\"n\": 3}}' >> $CADENZA_OUTPUT", "a"),
        shell(f"test -e {mended} && echo b${{{{ steps.a.outputs.n }}}} >> {mark}; test -e {mended} && sleep $(test -e {mended}.quick && echo 0 || echo 60)", "b"),
    )  # fmt: skip
    cadenza.wait_final(first)
    before = settled(cadenza, first)
    mended.touch()
    second = rerun(cadenza, first).json()["execution_id"]
    cadenza.until(lambda: "b3" in mark.read_text(), what="the second step to start")
    (tmp_path / "mended.quick").touch()
    os.kill(cadenza.modules[-1].pid, signal.SIGKILL)
    cadenza.service("executor")
    (document,) = cadenza.wait_final(second, timeout=40)
    assert (document["status"], document["recoveries"]) == ("completed", 1)
    assert mark.read_text().split() == ["a", "b3", "b3"]
    assert frozen(cadenza, first) == before
    check_invariants(cadenza, [first, second])


def lanes_of(cadenza, execution_id, query=""):
    with cadenza.client() as client:
        answer = client.get(f"/v1/executions/{execution_id}/lanes?limit=4{query}").json()
        cursor = answer["next_cursor"]
    return answer["items"] + (
        lanes_of(cadenza, execution_id, f"&cursor={cursor}") if cursor else []
    )


def test_only_lanes_that_did_not_complete_run_again_and_the_first_stay_as_they_are(
    cadenza, tmp_path
):
    """Lane 3 fails twice, lane 6 once; while it runs for the second time the executor is killed."""
    mark, here = tmp_path / "mark", tmp_path
    first = cadenza.submit(
        shell(f"echo ${{{{ row.n }}}} >> {mark}; test -e {here}/ok-${{{{ row.n }}}}", "say"),
        shell(f"echo $$ > {here}/runs-${{{{ row.n }}}}; test -e {here}/go || sleep 60", "stay"),
        data=[{"n": number} for number in range(1, 10)],
    )  # fmt: skip
    for number in (1, 2, 4, 5, 7, 8, 9):
        (here / f"ok-{number}").touch()
    (here / "go").touch()
    (document,) = cadenza.wait_final(first)
    assert document["status"] == "failed"
    children = [one["execution_id"] for one in lanes_of(cadenza, first)]
    check_invariants(cadenza, [first, *children])
    before = [frozen(cadenza, one) for one in (first, *children)]
    assert rerun(cadenza, first, key="other-key").status_code == 404
    wrong = rerun(cadenza, first, {"from": "say"})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "from")

    mark.unlink()
    (here / "go").unlink()
    (here / "runs-6").unlink(missing_ok=True)
    (here / "ok-6").touch()
    answer = rerun(cadenza, first).json()
    second = answer["execution_id"]
    assert (answer["reused"], answer["reused_lanes"]) == (0, 7)
    cadenza.until((here / "runs-6").exists, what="a lane to be in the middle")
    (here / "go").touch()
    os.kill(cadenza.modules[-1].pid, signal.SIGKILL)
    cadenza.service("executor")
    (document,) = cadenza.wait_final(second, timeout=60)
    assert (document["status"], document["reason"]) == ("failed", "step_failed")
    assert document["reused_lanes"] == [{"of": first, "lanes": "1-2,4-5,7-9"}]
    assert set(mark.read_text().split()) == {"3", "6"}
    output = cadenza.steps(second)[0]["output"]
    counted = {"total": 9, "completed": 8, "reused": 7, "failed": 1}
    assert {name: output[name] for name in counted} == counted
    assert [one["lane"] for one in output["not_completed"]] == [3]
    own = {lane["lane"]: lane for lane in lanes_of(cadenza, second)}
    assert list(own) == list(range(1, 10))
    assert [n for n, lane in own.items() if lane["reused_from"] is None] == [3, 6]
    assert {lane["reused_from"] for n, lane in own.items() if n not in (3, 6)} == {first}
    assert [own[n]["execution_id"] for n in (1, 9)] == [children[0], children[8]]
    failed = lanes_of(cadenza, second, "&status=failed")
    assert [lane["lane"] for lane in failed] == [3]

    mark.unlink()
    (here / "ok-3").touch()
    third = rerun(cadenza, second).json()
    assert third["reused_lanes"] == 8
    third = third["execution_id"]
    (document,) = cadenza.wait_final(third)
    assert document["status"] == "completed"
    assert mark.read_text().split() == ["3"]
    assert [lane["reused_from"] for lane in lanes_of(cadenza, third)] == [
        *[first] * 2, None, first, first, second, *[first] * 3
    ]  # fmt: skip
    with cadenza.client() as client:
        family = client.get(f"/v1/executions/{first}/family").json()
    assert (family["status"], family["newest_id"]) == ("completed", third)
    lanes = family["lanes"]
    assert (lanes["total"], lanes["completed"], lanes["reused"]) == (9, 9, 8)
    assert rerun(cadenza, third).status_code == 409
    alone = rerun(cadenza, own[3]["execution_id"]).json()["execution_id"]
    (document,) = cadenza.wait_final(alone)
    assert (document["status"], document["row"]) == ("completed", {"n": 3})
    whole = rerun(cadenza, first, {"from": "start"}).json()
    assert whole["reused_lanes"] == 0
    cadenza.wait_final(whole["execution_id"])
    assert len(lanes_of(cadenza, whole["execution_id"])) == 9
    check_invariants(cadenza, [first, *children, second, third, alone])
    assert [frozen(cadenza, one) for one in (first, *children)] == before


def test_a_cancelled_run_cleans_up_starts_nothing_else_and_stays_cancelled(cadenza, tmp_path):
    mark = tmp_path / "mark"
    execution_id = cadenza.submit(
        shell(f"echo begun >> {mark}; sleep 60", "a", fallback="f"),
        shell(f"echo f >> {mark}", "f"),
        shell(f"echo b >> {mark}", "b", needs=["a"]),
        shell(f"echo told >> {mark}", "told", needs=["a"], when="run.status == 'cancelled'"),
        shell(f"echo clean >> {mark}", "clean", needs=["b"], always=True),
        shell("sleep 60", "late", needs=["b"], always=True),
        strategy=GRAPH,
        cleanup_seconds=4,
    )
    cadenza.until(mark.exists, what="the first step to start")
    with cadenza.client() as client:
        assert client.post(f"/v1/executions/{execution_id}/cancel").status_code == 202
    (document,) = cadenza.wait_final(execution_id)
    assert (document["status"], document["reason"]) == ("cancelled", "cancelled")
    assert mark.read_text().split() == ["begun", "clean"]
    steps = {
        step["step_name"]: (step["status"], step["reason"]) for step in cadenza.steps(execution_id)
    }
    assert steps["clean"] == ("completed", None)
    assert steps["late"] == ("cancelled", "cleanup_timeout")
    assert {steps[name] for name in ("f", "b", "told")} == {("skipped", "run_stopped")}
    check_invariants(cadenza, [execution_id])
