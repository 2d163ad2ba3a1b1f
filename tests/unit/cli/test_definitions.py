"""Commands for what is kept by name: what they ask, what they print, how they leave."""

import json

import pytest

from cli.__main__ import run
from cli.exits import FAILED, PASSED, USAGE

AT = "2026-01-31T12:00:00.000Z"
APP = {
    "app_name": "checks",
    "sub_app_name": "nightly",
    "app_id": 3,
    "sub_app_id": 1,
    "version": "1.0.0",
    "active": True,
    "created_at": AT,
    "created_by": "ann",
}
SCHEDULE = {
    "schedule": {
        "name": "nightly",
        "cron": "0 2 * * *",
        "timezone": "UTC",
        "overlap": "skip",
        "enabled": True,
    },
    "upcoming": [AT],
    "turns": {"last_outcome": "skipped", "last_due": AT, "last_detail": "x had not ended"},
}


def asked(gateway):
    return [
        (method, path, json.loads(body) if body else None)
        for method, path, _, _, body in gateway.requests
    ]


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text("name: p\nsteps:\n- {name: one, command: {type: noop}}\n")
    return str(path)


def test_apps(gateway, tmp_path, capsys):
    version = tmp_path / "version.yaml"
    version.write_text("version: 1.0.0\nconfiguration: {steps: []}\n")
    one = "/v1/apps/checks/nightly"
    step = {"id": 1, "name": "go", "input": [{"name": "x", "required": True}], "depends_on": []}
    gateway.answers |= {
        "GET /v1/apps": (200, {"items": [APP], "next_cursor": None}),
        f"GET {one}": (200, APP | {"configuration": {"steps": [step]}}),
        f"GET {one}/versions": (200, {"items": [APP], "next_cursor": None}),
        f"POST {one}/versions": (201, APP),
        f"POST {one}/versions/1.0.0/activate": (200, APP),
        "POST /v1/apps/seed": (200, [APP]),
        "POST /v1/executions": (202, {"execution_id": "e", "status": "queued", "links": {}}),
    }
    name = "checks/nightly"
    assert run(["apps", "list"]) == PASSED
    assert "checks/nightly" in capsys.readouterr().out
    assert run(["apps", "show", name]) == PASSED
    assert "x*" in capsys.readouterr().out
    for words in (["versions", name], ["activate", name, "1.0.0"], ["seed"]):
        assert run(["apps", *words]) == PASSED
    assert run(["apps", "configure", name, str(version), "--no-activate"]) == PASSED
    assert run(["apps", "run", name, "-i", "x=3", "-v", "1.0.0"]) == PASSED
    body = {"version": "1.0.0", "configuration": {"steps": []}, "activate": False}
    assert ("POST", f"{one}/versions", body) in asked(gateway)
    app = {"name": "checks", "sub_app": "nightly", "version": "1.0.0"}
    submitted = {"app": app, "inputs": {"x": 3}, "labels": {}, "metadata": {}, "priority": 0}
    assert asked(gateway)[-1] == ("POST", "/v1/executions", submitted)
    turn = ["--priority", "5", "--queue-timeout", "60", "--concurrency-key", "db", "-m", "by=me"]
    assert run(["apps", "run", name, *turn, "--idempotency-key", "k"]) == PASSED
    *_, headers, _ = gateway.requests[-1]
    assert headers["Idempotency-Key"] == "k"
    wanted = {"priority": 5, "queue_timeout_seconds": 60, "concurrency": {"key": "db"}}
    assert asked(gateway)[-1][2].items() >= (wanted | {"metadata": {"by": "me"}}).items()
    assert run(["apps", "run", "a/b/c"]) == USAGE


def test_statistics_of_apps(gateway, capsys):
    counts = {"total": 4, "completed": 3, "failed": 0, "timed_out": 1, "cancelled": 0}
    rates = {"success_rate": 0.75, "pass_rate": None, "avg_duration_ms": 1500.0}
    one = {"app_name": "checks", "sub_app_name": "nightly", "unfinished": 0} | counts | rates
    span = {"created_after": AT, "created_before": AT}
    gateway.answers["GET /v1/apps/statistics"] = (200, {"items": [one]} | span)
    assert run(["apps", "stats"]) == PASSED
    printed = capsys.readouterr().out
    assert "checks/nightly" in printed
    assert "75.0%" in printed
    assert run(["apps", "stats", "checks", "--since", "7d", "--json"]) == PASSED
    assert json.loads(capsys.readouterr().out)["items"] == [one]
    assert run(["apps", "stats", "--since", "yesterday"]) == USAGE


def test_schedules(gateway, plan, capsys):
    gateway.answers |= {
        "GET /v1/schedules": (200, {"items": [SCHEDULE], "next_cursor": None}),
        "POST /v1/schedules": (201, SCHEDULE),
        "PATCH /v1/schedules/nightly": (200, SCHEDULE),
        "DELETE /v1/schedules/nightly": (200, {}),
    }
    assert run(["schedules", "list"]) == PASSED
    printed = capsys.readouterr().out
    assert "0 2 * * * UTC" in printed
    assert "x had not ended" in printed
    create = ["schedules", "create", "nightly", "--cron", "@daily", "--overlap", "queue"]
    assert run([*create, "--plan", plan, "--catch-up", "60"]) == PASSED
    assert run([*create, "--app", "checks/nightly", "--input", "x=1"]) == PASSED
    assert run(["schedules", "change", "nightly", "--disable"]) == PASSED
    key = ["--concurrency-key", "db", "--on-conflict", "replace", "--queue-timeout", "9.5"]
    assert run(["schedules", "change", "nightly", *key]) == PASSED
    assert run(["schedules", "change", "nightly"]) == USAGE
    assert run(["schedules", "remove", "nightly"]) == PASSED
    bodies = asked(gateway)[1:]
    common = {"name": "nightly", "cron": "@daily", "overlap": "queue"}
    step = {"name": "one", "command": {"type": "noop"}}
    assert bodies == [
        ("POST", "/v1/schedules", common | {"catch_up_seconds": 60, "plan": {"name": "p", "steps": [step]}}),
        ("POST", "/v1/schedules", common | {"app": {"name": "checks", "sub_app": "nightly"}, "inputs": {"x": 1}}),
        ("PATCH", "/v1/schedules/nightly", {"enabled": False}),
        ("PATCH", "/v1/schedules/nightly", {"concurrency": {"key": "db", "on_conflict": "replace"}, "queue_timeout_seconds": 9.5}),
        ("DELETE", "/v1/schedules/nightly", None),
    ]  # fmt: skip


def test_keep_and_release(gateway):
    gateway.answers |= {
        "PUT /v1/executions/e/keep": (202, {}),
        "DELETE /v1/executions/e/keep": (202, {}),
    }
    assert run(["executions", "keep", "e"]) == PASSED
    assert run(["executions", "keep", "e", "--release"]) == PASSED
    assert [one[0] for one in asked(gateway)] == ["PUT", "DELETE"]


def test_retention_wants_to_be_told_what_to_do():
    assert run(["retention"]) == USAGE
    assert run(["retention", "--dry-run", "--now"]) == USAGE


def test_retention_asks_the_gateway_what_goes_next(gateway, capsys):
    part = {"collection": "execution_steps", "documents": 4, "bytes": 2048}
    item = {"kind": "steps", "before": "2026-01-01T00:00:00Z", "runs": 2, "collections": [part],
            "object_bytes": 0, "examples": ["e1", "e2"], "complete": False}  # fmt: skip
    gateway.answers["GET /v1/retention/preview"] = (200, {"as_of": "x", "items": [item]})
    assert run(["retention", "--preview", "--within-days", "30"]) == PASSED
    method, path, query, *_ = gateway.requests[-1]
    assert (method, path, query) == ("GET", "/v1/retention/preview", "within_days=30")
    told = capsys.readouterr().out
    assert "2+" in told
    assert "4 execution_steps" in told


def test_history_is_imported_verified_and_switched_over(
    mongo_process, mongo_settings, monkeypatch, tmp_path, capsys
):
    monkeypatch.setenv("MONGO__URI", mongo_process.uri)
    monkeypatch.setenv("MONGO__DATABASE", mongo_settings.database)
    records = [
        {"execution_id": f"old-{n}", "status": "completed", "created_at": "2024-01-01T00:00:00Z"}
        for n in range(5)
    ]
    file = tmp_path / "executions.jsonl"

    def write(*more):
        file.write_text("".join(json.dumps(one) + "\n" for one in [*records, *more]))

    def migrate(*words):
        code = run(["migrate", *words, "--tenant", "acme", "--collection", "executions"])
        return code, capsys.readouterr()

    write()
    assert migrate("import", str(file), "--batch", "2")[0] == PASSED
    code, said = migrate("dual-write", "status", str(file))
    assert (code, "was never on" in said.out) == (PASSED, True)
    write({"execution_id": "old-9", "status": "failed", "created_at": 1704067200000})
    code, said = migrate("dual-write", "off", str(file))
    assert code == FAILED
    assert "executions old-9 is missing" in said.err
    assert "not switched over" in said.err
    assert migrate("dual-write", "on", str(file), "--once")[0] == PASSED
    assert "dual-write is on" in migrate("dual-write", "status", str(file))[1].out
    code, said = migrate("dual-write", "off", str(file), "--json")
    assert (code, json.loads(said.out)["whole"]) == (PASSED, True)
    assert "dual-write is off" in migrate("dual-write", "status", str(file))[1].out
    assert migrate("import", str(tmp_path / "nowhere"))[0] == USAGE
    code, said = migrate("import", mongo_process.uri.split("?")[0])
    assert code == USAGE, "the address names no database"
