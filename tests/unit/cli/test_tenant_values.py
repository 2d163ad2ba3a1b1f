"""Secrets, variables and uploads from the command line, against a scripted gateway."""

import io
import json
import sys
import tarfile

from cli.__main__ import run
from cli.exits import FAILED, PASSED, USAGE

VIEW = {
    "name": "TOKEN", "version": 2, "created_at": "2026-01-31T12:00:00.000Z",
    "updated_at": "2026-01-31T12:00:00.000Z", "updated_by": "ann",
}  # fmt: skip
SHA = "a" * 64


def body_of(gateway):
    return json.loads(gateway.requests[-1][4])


def test_a_secret_is_read_from_standard_input_or_a_file_and_never_shown(
    gateway, monkeypatch, capsys, tmp_path
):
    gateway.answers["PUT /v1/secrets/TOKEN"] = (200, VIEW)
    monkeypatch.setattr(sys, "stdin", io.StringIO("the-value\n"))
    assert run(["secrets", "set", "TOKEN"]) == PASSED
    assert body_of(gateway) == {"value": "the-value"}
    file = tmp_path / "key.pem"
    file.write_text("line one\nline two\n")
    assert run(["secrets", "set", "TOKEN", "--file", str(file), "--json"]) == PASSED
    assert body_of(gateway) == {"value": "line one\nline two\n"}
    said = capsys.readouterr()
    assert "version 2" in said.out
    assert "the-value" not in said.out + said.err
    assert "line one" not in said.out + said.err


def test_a_value_on_the_command_line_is_no_way(gateway, capsys):
    assert run(["secrets", "set", "TOKEN", "the-value"]) == USAGE
    assert run(["secrets", "set", "TOKEN", "--value", "the-value"]) == USAGE
    assert gateway.requests == []


def test_what_is_no_text_or_not_there_is_said(gateway, tmp_path, capsys):
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert run(["secrets", "set", "TOKEN", "-f", str(tmp_path / "binary")]) == USAGE
    assert "base64" in capsys.readouterr().err
    assert run(["secrets", "set", "TOKEN", "-f", str(tmp_path / "none")]) == USAGE


def test_lists_and_deletes(gateway, capsys):
    gateway.answers |= {
        "GET /v1/secrets": (200, {"items": [VIEW], "next_cursor": None}),
        "GET /v1/variables": (200, {"items": [VIEW | {"value": "https://x"}], "next_cursor": None}),
        "PUT /v1/variables/URL": (200, VIEW | {"value": "https://x"}),
        "DELETE /v1/secrets/TOKEN": (204, {}),
        "DELETE /v1/variables/URL": (404, {"detail": "there is no variable 'URL'"}),
    }
    assert run(["secrets", "list"]) == PASSED
    assert run(["variables", "set", "URL", "https://x"]) == PASSED
    assert body_of(gateway) == {"value": "https://x"}
    assert run(["variables", "list"]) == PASSED
    assert run(["secrets", "delete", "TOKEN"]) == PASSED
    assert run(["variables", "delete", "URL"]) == FAILED
    said = capsys.readouterr()
    assert "TOKEN" in said.out
    assert "https://x" in said.out
    assert "no variable 'URL'" in said.err


def test_a_folder_is_packed_the_same_every_time(gateway, capsys, tmp_path):
    gateway.answers["POST /v1/uploads"] = (201, {"sha256": SHA, "size_bytes": 10})
    suite = tmp_path / "suite"
    (suite / "sub").mkdir(parents=True)
    (suite / "run.sh").write_text("#!/bin/sh\n")
    (suite / "run.sh").chmod(0o755)
    (suite / "sub" / "a").write_text("a")
    (suite / "link").symlink_to("sub/a")
    (suite / "sub" / "hard").hardlink_to(suite / "sub" / "a")
    for left_out in (".git", "__pycache__", "logs"):
        (suite / left_out).mkdir()
        (suite / left_out / "x").write_text("x")
    sent = []
    for _ in range(2):
        assert run(["upload", str(suite), "--exclude", "logs"]) == PASSED
        _, _, query, headers, body = gateway.requests[-1]
        assert query == "name=suite.tar.gz"
        assert int(headers["Content-Length"]) == len(body)
        sent.append(body)
        (suite / "sub" / "a").write_text("a")  # another time of change
    assert sent[0] == sent[1]
    with tarfile.open(fileobj=io.BytesIO(sent[0])) as tar:
        kinds = {one.name: (one.type, oct(one.mode), one.uid, one.mtime) for one in tar}
        assert tar.extractfile("sub/hard").read() == b"a"
    assert set(kinds) == {"run.sh", "sub", "sub/a", "sub/hard", "link"}
    assert kinds["run.sh"] == (tarfile.REGTYPE, "0o755", 0, 0)
    assert f"sha256: {SHA}" in capsys.readouterr().out


def test_a_file_is_sent_as_it_is(gateway, tmp_path, capsys):
    gateway.answers["POST /v1/uploads"] = (200, {"sha256": SHA, "size_bytes": 3})
    gateway.answers["GET /v1/uploads"] = (200, {"items": [], "next_cursor": None})
    (tmp_path / "a.zip").write_bytes(b"zip")
    assert run(["upload", str(tmp_path / "a.zip"), "--name", "mine.zip"]) == PASSED
    assert gateway.requests[-1][4] == b"zip"
    assert run(["uploads", "list"]) == PASSED
    assert run(["upload", str(tmp_path / "none")]) == USAGE
    assert "cannot be read" in capsys.readouterr().err


def test_validate_shows_warnings(gateway, tmp_path, capsys):
    answer = {"valid": True, "steps": ["a"], "warnings": ["there is no secret 'X' yet"]}
    gateway.answers["POST /v1/executions/validate"] = (200, answer)
    plan = tmp_path / "plan.yaml"
    plan.write_text("name: p\nsteps:\n  - name: a\n    command: {type: noop}\n")
    assert run(["validate", str(plan)]) == PASSED
    assert "no secret 'X' yet" in capsys.readouterr().out


def test_a_table_beside_the_plan_is_uploaded_and_named(gateway, tmp_path):
    (tmp_path / "customers.csv").write_text("name\nann\n")
    plan = tmp_path / "plan.yaml"
    steps = "steps: [{name: a, command: {type: noop}}]"
    plan.write_text(f"name: p\ndata: {{file: customers.csv}}\n{steps}\n")
    gateway.answers["POST /v1/uploads"] = (201, {"sha256": SHA})
    gateway.answers["POST /v1/executions"] = (202, {"execution_id": "0198"})
    assert run(["run", str(plan), "--json"]) == PASSED
    assert body_of(gateway)["plan"]["data"] == {"upload": SHA, "format": "csv"}
    assert gateway.requests[-2][4] == b"name\nann\n"
    (tmp_path / "other.json").write_text("[]")
    assert run(["run", str(plan), "--data", str(tmp_path / "other.json")]) == PASSED
    assert body_of(gateway)["plan"]["data"] == {"upload": SHA, "format": "json"}
    assert run(["plan", str(plan)]) == PASSED  # drawn without asking anybody
    plan.write_text(f"name: p\ndata: {{file: gone.csv}}\n{steps}\n")
    assert run(["run", str(plan)]) == USAGE
    plan.write_text(f"name: p\ndata: {{file: gone.csv, upload: x}}\n{steps}\n")
    assert run(["run", str(plan)]) == USAGE
