"""Commands against a scripted gateway: what they ask, what they print, how they leave."""

import hashlib
import hmac
import json
from xml.etree import ElementTree as ET

import pytest

from cli.__main__ import run
from cli.exits import FAILED, PASSED, UNREACHABLE, USAGE

RUN = "01900000-0000-7000-8000-000000000001"
STEP = {"step_id": 1, "step_name": "one", "status": "pending", "duration_ms": None}


def events(*items):
    return [
        (number, (kind, {"type": kind, "execution_id": RUN} | data))
        for number, (kind, data) in enumerate(items, start=1)
    ]


def play(gateway, *, status="completed"):
    """A run of one step that ends in `status`."""
    log = {"step_id": 1, "step_name": "one", "data": {"stream": "stdout", "text": "hello\n"}}
    gateway.answers |= {
        "POST /v1/executions": (202, {"execution_id": RUN, "status": "queued", "links": {}}),
        f"GET /v1/executions/{RUN}": (
            200,
            {"execution_id": RUN, "name": "plan", "status": status, "duration_ms": 1500, "created_at": "2026-01-31T12:00:00.000Z"},
        ),
        f"GET /v1/executions/{RUN}/steps": (
            200,
            {"items": [STEP | {"status": status, "duration_ms": 700, "started_at": "x"}], "next_cursor": None},
        ),
        f"GET /v1/executions/{RUN}/logs": (
            200,
            {"items": [{"step_id": 1, "step_name": "one", "stream": "stdout", "text": "a\x1b[0m & b\n"}], "next_cursor": None},
        ),
        f"GET /v1/executions/{RUN}/events": lambda request: request.stream(
            *events(
                ("run.started", {"status": "running"}),
                ("step.log", log),
                ("step.finished", {"step_id": 1, "status": status, "data": {"duration_ms": 700}}),
                ("run.finished", {"status": status, "data": {"duration_ms": 1500}}),
            )
        ),
    }  # fmt: skip


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "work.py").write_text("print(1)\n")
    path = tmp_path / "plan.yaml"
    path.write_text("name: p\nsteps:\n- {name: one, command: {type: script, path: work.py}}\n")
    return path


def test_run_sends_the_plan_with_its_script_inputs_and_labels(gateway, plan, capsys):
    play(gateway)
    code = run(
        [
            "run",
            str(plan),
            "-i",
            "n=3",
            "-i",
            "who=me",
            "--label",
            "branch=main",
            "--idempotency-key",
            "k1",
        ]
    )
    assert code == PASSED
    assert RUN in capsys.readouterr().out
    method, path, _, headers, raw = gateway.requests[0]
    body = json.loads(raw)
    assert (method, path) == ("POST", "/v1/executions")
    assert headers["X-API-Key"] == "a-key"
    assert headers["Idempotency-Key"] == "k1"
    assert body["inputs"] == {"n": 3, "who": "me"}
    assert body["labels"] == {"branch": "main"}
    command = body["plan"]["steps"][0]["command"]
    assert command == {"type": "script", "interpreter": "python", "source": "print(1)\n"}


def test_run_says_how_it_is_let_in(gateway, plan):
    play(gateway)
    key = ["--concurrency-key", "db", "--concurrency-limit", "2", "--on-conflict", "refuse"]
    more = ["--queue-timeout", "30", "--metadata", "build=77", "-m", "by=me=you"]
    assert run(["run", str(plan), *key, *more]) == PASSED
    body = json.loads(gateway.requests[0][-1])
    assert body["concurrency"] == {"key": "db", "limit": 2, "on_conflict": "refuse"}
    assert body["queue_timeout_seconds"] == 30
    assert body["metadata"] == {"build": "77", "by": "me=you"}
    assert run(["run", str(plan)]) == PASSED
    assert {"concurrency", "queue_timeout_seconds"}.isdisjoint(json.loads(gateway.requests[-1][-1]))
    for wrong in (["--on-conflict", "refuse"], ["-m", "x"], ["--concurrency-limit", "0"]):
        assert run(["run", str(plan), *wrong]) == USAGE


@pytest.mark.parametrize(
    ("status", "code"),
    [("completed", PASSED), ("failed", FAILED), ("timed_out", FAILED), ("cancelled", FAILED)],
)
def test_run_follow_leaves_with_the_result(gateway, plan, capsys, status, code):
    play(gateway, status=status)
    assert run(["run", str(plan), "--follow"]) == code
    out = capsys.readouterr().out
    assert "one │ hello" in out
    assert status in out


def test_run_json_is_one_document(gateway, plan, capsys):
    play(gateway)
    assert run(["run", str(plan), "--follow", "--json"]) == PASSED
    answer = json.loads(capsys.readouterr().out)
    assert answer["status"] == "completed"
    assert answer["steps"][0]["step_name"] == "one"


def test_junit_holds_the_failure_and_the_printable_log(gateway, plan, tmp_path):
    play(gateway, status="failed")
    report = tmp_path / "out" / "junit.xml"
    assert run(["run", str(plan), "--junit", str(report)]) == FAILED
    suite = ET.parse(report).getroot().find("testsuite")
    assert suite.attrib["tests"] == "1"
    assert suite.attrib["failures"] == "1"
    assert suite.find("testcase/failure") is not None
    assert suite.find("testcase/system-out").text == "a[0m & b\n"


def test_a_broken_stream_is_resumed_after_the_last_event(gateway, plan):
    play(gateway)
    seen = []

    def broken(request):
        seen.append(request.headers.get("Last-Event-ID"))
        if len(seen) == 1:
            request.stream(*events(("run.started", {"status": "running"})))
        else:
            request.stream((2, ("run.finished", {"status": "completed"})))

    gateway.answers[f"GET /v1/executions/{RUN}/events"] = broken
    assert run(["logs", "--follow", RUN]) == PASSED
    assert seen == [None, "1"]


def test_followed_logs_are_json_lines_for_programs(gateway, capsys):
    play(gateway)
    assert run(["logs", "-f", RUN, "--json"]) == PASSED
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["data"]["text"] == "hello\n"


def test_logs_filter_is_the_gateways(gateway, capsys):
    play(gateway)
    assert run(["logs", RUN, "--step", "one", "--stream", "stderr"]) == PASSED
    query = gateway.requests[-1][2]
    assert "step=one" in query
    assert "stream=stderr" in query
    assert "& b" in capsys.readouterr().out


@pytest.mark.parametrize("follow", [[], ["-f"], ["--json"]])
def test_a_step_that_is_not_there_is_said_so(gateway, capsys, follow):
    play(gateway)
    for wrong, hint in (("nope", ""), ("onee", "; did you mean 'one'?"), ("2", "")):
        assert run(["logs", RUN, "--step", wrong, *follow]) == USAGE
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err == f"cadenza: The run has no step '{wrong}'{hint or '.'} Its steps: one.\n"


@pytest.mark.parametrize("step", ["one", "1"])
def test_the_output_of_one_step_is_followed_by_its_name_or_number(gateway, capsys, step):
    play(gateway)
    assert run(["logs", "-f", RUN, "--step", step]) == PASSED
    assert "one │ hello" in capsys.readouterr().out


def test_following_goes_on_when_the_gateway_is_away_for_a_moment(gateway, plan, capsys):
    """Before, within and after the stream."""
    play(gateway)
    seen, away = [], {"steps": 2, "run": 2}
    steps, execution = (gateway.answers[f"GET /v1/executions/{RUN}{x}"] for x in ("/steps", ""))

    def now_and_then(name, answer):
        def give(_request):
            away[name] -= 1
            return (503, {"detail": "away"}) if away[name] >= 0 else answer

        return give

    def broken(request):
        seen.append(request.headers.get("Last-Event-ID"))
        if len(seen) == 2:
            return 503, {"detail": "away"}
        if len(seen) == 1:
            request.stream(*events(("run.started", {"status": "running"})))
            request.wfile.write(b'retry: 10\nevent: reconnect\ndata: {"reason": "stopping"}\n\n')
        else:
            request.stream((2, ("run.finished", {"status": "completed"})))
        return None

    gateway.answers |= {
        f"GET /v1/executions/{RUN}/steps": now_and_then("steps", steps),
        f"GET /v1/executions/{RUN}": now_and_then("run", execution),
        f"GET /v1/executions/{RUN}/events": broken,
    }
    assert run(["run", str(plan), "--follow"]) == PASSED
    assert seen == [None, "1", "1"]
    assert "reconnect" not in capsys.readouterr().out


def test_lists_follow_the_cursor_up_to_the_limit(gateway, capsys):
    def page(request):
        first = "cursor=" not in request.query
        ids = ["a", "b"] if first else ["c", "d"]
        items = [{"execution_id": one, "status": "completed"} for one in ids]
        return 200, {"items": items, "next_cursor": "next" if first else None}

    gateway.answers["GET /v1/executions"] = page
    assert run(["executions", "list", "--limit", "3", "--label", "branch=main", "--json"]) == PASSED
    items = json.loads(capsys.readouterr().out)["items"]
    assert [item["execution_id"] for item in items] == ["a", "b", "c"]
    assert "label=branch%3Dmain" in gateway.requests[0][2]


def test_the_end_of_a_7ps_job_is_told_with_the_key(gateway, capsys):
    gateway.answers["POST /webhook/seven-ps"] = (202, {"event_id": "e1"})
    assert run(["webhook", "seven-ps", "5b0f2c1e"]) == PASSED
    (request,) = gateway.requests
    assert json.loads(request[4]) == {"executionId": "5b0f2c1e"}
    assert "accepted e1" in capsys.readouterr().out


def test_a_webhook_is_signed_over_the_bytes_that_are_sent(gateway, monkeypatch):
    gateway.answers["POST /webhook/execution-complete"] = (202, {"id": "e1"})
    monkeypatch.setenv("CADENZA_WEBHOOK_SECRET", "s3cret")
    assert run(["webhook", "send", "001", "88715", "--tenant", "demo"]) == PASSED
    _, _, _, headers, raw = gateway.requests[0]
    expected = hmac.new(b"s3cret", raw, hashlib.sha256).hexdigest()
    assert headers["X-Cadenza-Signature"] == f"sha256={expected}"
    assert headers["X-Cadenza-Tenant"] == "demo"
    assert json.loads(raw) == {"customerId": "001", "executionId": "88715"}


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, USAGE), (403, USAGE), (404, FAILED), (409, FAILED), (413, USAGE), (422, USAGE), (500, UNREACHABLE), (503, UNREACHABLE)],
)  # fmt: skip
def test_problems_become_exit_codes_and_one_sentence(gateway, capsys, status, code):
    gateway.answers[f"GET /v1/executions/{RUN}"] = (status, {"detail": "because"})
    assert run(["executions", "show", RUN]) == code
    assert capsys.readouterr().err == "cadenza: because\n"


def test_validate_names_field_and_rule(gateway, plan, capsys):
    gateway.answers["POST /v1/executions/validate"] = (
        422,
        {"detail": "2 rules are broken", "errors": [{"field": "plan.steps[0].name", "rule": "pattern", "message": "bad name"}]},
    )  # fmt: skip
    assert run(["validate", str(plan)]) == FAILED
    assert "plan.steps[0].name: bad name" in capsys.readouterr().err
    assert run(["validate", str(plan), "--json"]) == FAILED
    assert json.loads(capsys.readouterr().out)["errors"][0]["rule"] == "pattern"


def test_extract_waits_for_the_new_result_not_the_old_one(gateway, capsys):
    looks = []

    def look(_request):
        looks.append(1)
        if len(looks) in (2, 3):  # the same as before, then at work
            return (200, old) if len(looks) == 2 else (409, {"detail": "running"})
        return 200, old if len(looks) == 1 else old | {"updated_at": "2", "objects": ["k1"]}

    old = {"status": "completed", "updated_at": "1"}
    gateway.answers["GET /v1/extractions/001/88715"] = look
    gateway.answers["POST /v1/extractions"] = (202, {"id": "x"})
    assert run(["extract", "001", "88715", "--json"]) == PASSED
    assert json.loads(capsys.readouterr().out)["updated_at"] == "2"
    assert len(looks) == 4


@pytest.mark.parametrize(
    "argv",
    [[], ["nonsense"], ["run"], ["run", "missing.yaml"], ["executions", "list", "--limit", "0"]],
)
def test_wrong_calls_are_usage_errors(argv, capsys):
    assert run(argv) == USAGE
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "\t"])
def test_files_that_hold_no_plan_are_named(tmp_path, capsys, text):
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    assert run(["validate", str(path)]) == USAGE
    assert "plan.yaml" in capsys.readouterr().err


def test_nobody_there_is_unreachable(monkeypatch, capsys):
    monkeypatch.setenv("CADENZA_URL", "http://127.0.0.1:9")
    assert run(["executions", "list"]) == UNREACHABLE
    err = capsys.readouterr().err
    assert "cadenza up" in err
    assert err.count("\n") == 1


def test_version_and_help(capsys):
    assert run(["--version"]) == PASSED
    assert capsys.readouterr().out.startswith("cadenza")
    assert run(["--help"]) == PASSED
    assert "demo" in capsys.readouterr().out


def test_rerun_says_what_is_taken_over(gateway, capsys):
    accepted = {
        "execution_id": "01900000-0000-7000-8000-000000000002",
        "status": "queued",
        "reused": 3,
    }
    gateway.answers[f"POST /v1/executions/{RUN}/rerun"] = (202, accepted)
    assert run(["rerun", RUN, "--from", "test", "-i", "n=2", "--idempotency-key", "k"]) == PASSED
    (_, _, _, headers, body), *_ = gateway.requests
    assert json.loads(body) == {"from": "test", "inputs": {"n": 2}}
    assert headers["Idempotency-Key"] == "k"
    assert "3 steps are taken over" in capsys.readouterr().out


def test_rerun_can_be_followed_to_its_result(gateway, capsys):
    play(gateway, status="failed")
    gateway.answers[f"POST /v1/executions/{RUN}/rerun"] = (202, {"execution_id": RUN, "reused": 0})
    assert run(["rerun", RUN, "--follow"]) == FAILED
    assert "failed" in capsys.readouterr().out


def test_plan_shows_a_file_or_an_execution(gateway, plan, tmp_path, capsys):
    assert run(["plan", str(plan)]) == PASSED
    assert "one" in capsys.readouterr().out
    assert run(["plan", str(plan), "--mermaid"]) == PASSED
    assert capsys.readouterr().out == 'flowchart TD\n  s1["one"]\n'
    node = {"step_id": 1, "name": "one", "type": "noop", "status": "failed", "reason": "timeout"}
    later = {"step_id": 2, "name": "two", "type": "noop", "status": "skipped", "when": "inputs.x"}
    later |= {"lanes": {"skipped": 2, "completed": 5}}
    edges = [{"from": "one", "to": "two", "kind": "fallback"}]
    graph = {"name": "p", "strategy": "serial", "nodes": [node, later], "edges": edges}
    gateway.answers[f"GET /v1/executions/{RUN}/plan"] = (200, graph)
    assert run(["plan", RUN]) == PASSED
    out = capsys.readouterr().out
    assert "timeout" in out
    assert "if one fails" in out
    assert "5 completed, 2 skipped" in out
    assert run(["plan", RUN, "--json"]) == PASSED
    assert json.loads(capsys.readouterr().out)["edges"] == edges
    assert run(["plan", str(tmp_path / "none.yaml")]) == USAGE
