"""Lanes and sub-plans are runs of their own: none is lost or started twice, and they end with their parent."""

import os
import signal

import pytest

from tests.builders.runs import a_step
from tests.promises.platform import check_invariants
from tests.promises.processes import alive, shell

pytestmark = [pytest.mark.breaks, pytest.mark.timeout(180)]
OPEN = {"$in": ["queued", "running", "waiting"]}


def get(cadenza, path, key="acme-key"):
    with cadenza.client(key) as client:
        answer = client.get(path)
    return answer.json() if answer.status_code == 200 else answer.status_code


def children(cadenza, parent):
    return list(cadenza.database.executions.find({"parent_id": parent}).sort("lane"))


def sub_plan(*steps, name="sub", inputs=None, **plan):
    inner = {"name": "inner", "steps": list(steps), **plan}
    return a_step(name, command={"type": "plan", "plan": inner, "inputs": inputs or {}})


def test_each_row_is_a_lane_and_one_summary_counts_them(cadenza):
    cadenza.service("gateway")
    cadenza.service("executor")
    rows = [{"n": number, "code": 3 if number in (4, 9) else 0} for number in range(1, 13)]
    parent = cadenza.submit(
        shell("echo row ${{ row.n }} ${{ inputs.greet }}; exit ${{ row.code }}", "say"),
        inputs={"greet": "hello"},
        data=rows,
        max_lanes=3,
    )
    (document,) = cadenza.wait_final(parent, timeout=60)
    assert (document["status"], document["reason"]) == ("failed", "step_failed")
    lanes = children(cadenza, parent)
    assert [lane["lane"] for lane in lanes] == list(range(1, 13))
    assert {lane["root_id"] for lane in lanes} == {parent}
    (step,) = cadenza.steps(parent)
    assert (step["step_name"], step["reason"]) == ("lanes", "lanes_failed")
    output = step["output"]
    assert (output["total"], output["completed"], output["failed"]) == (12, 10, 2)
    assert [one["lane"] for one in output["not_completed"]] == [4, 9]
    here = f"/v1/executions/{parent}"
    counts = get(cadenza, here)["lanes"]
    assert (counts["total"], counts["completed"], counts["failed"]) == (12, 10, 2)
    page = get(cadenza, f"{here}/lanes?status=completed&limit=9")
    assert [lane["lane"] for lane in page["items"]] == [1, 2, 3, 5, 6, 7, 8, 10, 11]
    more = get(cadenza, f"{here}/lanes?status=completed&cursor={page['next_cursor']}")
    assert [lane["row"]["n"] for lane in more["items"]] == [12]
    assert get(cadenza, f"{here}/lanes", "other-key") == 404
    listed = [run["execution_id"] for run in get(cadenza, "/v1/executions")["items"]]
    assert listed == [parent]
    text = get(cadenza, f"/v1/executions/{lanes[6]['_id']}/logs")["items"][0]["text"]
    assert text == "row 7 hello\n"
    check_invariants(cadenza, [parent, *(lane["_id"] for lane in lanes)])
    short_of_time = runs_that_are_short_of_time(cadenza)
    a_sub_plan_gives_its_outputs_and_its_failure(cadenza)
    the_time_of_a_step_is_over_in_a_sub_plan_and_in_lanes(cadenza, *short_of_time)


def test_a_parent_that_is_killed_starts_no_child_twice(cadenza, tmp_path):
    cadenza.service("gateway")
    quick = {"EXECUTOR__REST_AFTER_SECONDS": "0.2"}
    first = cadenza.service("executor", **quick)
    cadenza.service("executor", **quick)
    mark = tmp_path / "marks"
    parent = cadenza.submit(
        shell(f"echo ${{{{ row.a }}}}${{{{ row.b }}}} >> {mark}; sleep 0.2", idempotent=False),
        matrix={
            "axes": {"a": ["x", "y", "z"], "b": [1, 2, 3, 4]},
            "exclude": [{"a": "y", "b": 2}],
            "include": [{"a": "w", "b": 9}],
        },
        max_lanes=4,
    )
    again = trying(cadenza, tmp_path / "tries")
    cadenza.until(mark.exists, what="the first lane")
    cadenza.until((tmp_path / "tries").exists, what="the first sub-plan")
    os.kill(first.pid, signal.SIGKILL)
    (document,) = cadenza.wait_final(parent, timeout=60)
    lanes = children(cadenza, parent)
    assert [lane["lane"] for lane in lanes] == list(range(1, 13))
    lost = [lane for lane in lanes if lane["status"] != "completed"]
    assert document["status"] == ("failed" if lost else "completed")
    assert all(cadenza.steps(lane["_id"])[0]["reason"] == "lost_worker" for lane in lost)
    written = mark.read_text().split()
    assert len(set(written)) == len(written), "no effect happened twice"
    assert set(written) <= {f"{a}{b}" for a in "xyz" for b in range(1, 5)} - {"y2"} | {"w9"}
    check_invariants(cadenza, [parent, *(lane["_id"] for lane in lanes)])
    tried_again(cadenza, again)


def runs_that_are_short_of_time(cadenza):
    sub = cadenza.submit({**sub_plan(shell("sleep 60", "long")), "timeout_seconds": 1})
    lanes = cadenza.submit(
        shell("sleep ${{ row.s }}", "long", timeout_seconds=1), data=[{"s": 0}, {"s": 60}]
    )
    return sub, lanes


def the_time_of_a_step_is_over_in_a_sub_plan_and_in_lanes(cadenza, sub, lanes):
    """A child goes with the step that runs it; in a lane it is the lane's own end, and the others go on."""
    (ended, _) = cadenza.wait_final(sub, lanes, timeout=60)
    (step,) = cadenza.steps(sub)
    assert (step["status"], step["reason"], ended["status"]) == ("timed_out", "timeout", "failed")
    (child,) = children(cadenza, sub)
    cadenza.wait_final(child["_id"])
    (child,) = children(cadenza, sub)
    assert child["status"] == "cancelled"

    (summary,) = cadenza.steps(lanes)
    assert (summary["status"], summary["reason"]) == ("failed", "lanes_failed")
    quick, slow = children(cadenza, lanes)
    assert (quick["status"], slow["status"]) == ("completed", "failed")
    (late,) = cadenza.steps(slow["_id"])
    assert (late["status"], late["reason"]) == ("timed_out", "timeout")


def a_sub_plan_gives_its_outputs_and_its_failure(cadenza):
    made = """echo '{"v": "${{ inputs.what }}-1"}' >> "$CADENZA_OUTPUT" """
    parent = cadenza.submit(
        sub_plan(shell(made, "make"), inputs={"what": "${{ inputs.x }}"}),
        shell("echo got ${{ steps.sub.outputs.make.v }}", "use"),
        sub_plan(sub_plan(shell("exit 4", "deep"), name="mid"), name="bad"),
        inputs={"x": "car"},
    )
    (document,) = cadenza.wait_final(parent, timeout=60)
    assert document["status"] == "failed"
    sub, use, bad = cadenza.steps(parent)
    assert sub["output"] == {"make": {"v": "car-1"}}
    assert use["status"] == "completed"
    assert (bad["status"], bad["reason"]) == ("failed", "plan_failed")
    below = list(cadenza.database.executions.find({"root_id": parent}))
    assert len(below) == 3
    check_invariants(cadenza, [parent, *(one["_id"] for one in below)])


def trying(cadenza, mark):
    """The third sub-plan does it; one of another step is to be cancelled."""
    say = f"echo $CADENZA_EXECUTION_ID >> {mark}; test $(sort -u {mark} | wc -l) -ge 3 || exit 4"
    retry = {"max_attempts": 5, "initial_delay_seconds": 0.3, "factor": 1}
    return cadenza.submit(
        sub_plan(shell(say)) | {"retry": retry},
        sub_plan(shell("sleep 60"), name="stopped") | {"retry": retry},
    )


def tried_again(cadenza, parent):
    executions = cadenza.database.executions
    long = {"parent_id": parent, "parent_step": 2, "status": "running"}
    cadenza.until(lambda: executions.count_documents(long) == 1, what="the last child")
    stopped = executions.find_one(long)["_id"]
    with cadenza.client() as client:
        assert client.post(f"/v1/executions/{stopped}/cancel").status_code == 202
    cadenza.wait_final(parent, timeout=60)
    sub, last = cadenza.steps(parent)
    ended = [one for one in sub["attempts"] if one["status"] != "lost"]
    assert [one["status"] for one in ended] == ["failed", "failed", "completed"]
    tried = [one for one in children(cadenza, parent) if one["parent_step"] == 1]
    tried.sort(key=lambda one: one["parent_attempt"])
    assert [(one["parent_attempt"], one["status"]) for one in tried] == [
        (1, "failed"), (2, "failed"), (3, "completed")
    ]  # fmt: skip
    assert all(one["_id"] in ended[n]["error"] for n, one in enumerate(tried[:2]))
    assert last["reason"] == "plan_cancelled"
    shown = get(cadenza, f"/v1/executions?parent_id={parent}")["items"]
    assert sorted(run["parent_attempt"] for run in shown) == [1, 1, 2, 3]
    check_invariants(cadenza, [parent, stopped, *(one["_id"] for one in tried)])


def test_a_cancel_ends_children_and_theirs_wherever_the_parent_is(cadenza, tmp_path):
    cadenza.service("gateway")
    cadenza.service("executor")
    cadenza.service("executor")
    pids = tmp_path / "pids"
    long = shell(f"echo $$ >> {pids}; sleep 60")
    parents = [
        cadenza.submit(long, data=[{"n": number} for number in range(9)], max_lanes=2),
        cadenza.submit(sub_plan(sub_plan(long, name="inner"))),
    ]
    executions = cadenza.database.executions
    waits = {"_id": {"$in": parents}, "status": "waiting"}
    cadenza.until(lambda: executions.count_documents(waits) == 2, what="the parents to wait")
    cadenza.until(lambda: len(pids.read_text().split()) == 3, what="the children to run")
    for parent in parents:
        with cadenza.client() as client:
            assert client.post(f"/v1/executions/{parent}/cancel").status_code == 202
    for document in cadenza.wait_final(*parents):
        assert document["status"] == "cancelled"
    below = {"root_id": {"$in": parents}, "status": OPEN}
    cadenza.until(lambda: executions.count_documents(below) == 0, what="the children to end")
    ended = {one["status"] for one in executions.find({"root_id": {"$in": parents}})}
    assert ended == {"cancelled"}
    cadenza.until(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()))


def test_parents_that_wait_do_not_block_their_children(cadenza):
    """As many parents as there are slots; each of their children needs one."""
    cadenza.service("gateway")
    cadenza.service("executor", EXECUTOR__RUN_SLOTS="64")
    parents = [cadenza.submit(sub_plan(a_step("one"), a_step("two"))) for _ in range(64)]
    for document in cadenza.wait_final(*parents, timeout=90):
        assert document["status"] == "completed"
    executions = cadenza.database.executions
    assert executions.count_documents({"root_id": {"$in": parents}, "status": "completed"}) == 64
