"""What the doctor says of limits, clocks, disks and services, and which fix it names."""

import resource
from types import SimpleNamespace

import pytest

from cli.diagnosis import browsers, dependencies, machine, services
from cli.settings import CliSettings
from sandbox.settings import SandboxSettings
from shared.mongo.diagnosis import Answer

INFINITE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "level"),
    [
        (INFINITE, INFINITE, "ok"),
        (4_096, 4_096, "ok"),
        (1_024, 4_096, "note"),
        (256, INFINITE, "problem"),
    ],
)
def test_open_files(soft, hard, level):
    finding = machine.open_files(soft, hard)
    assert finding.level == level
    assert (level == "ok") or "ulimit -n 4096" in finding.fix


@pytest.mark.parametrize(
    ("soft", "root", "level"),
    [(INFINITE, False, "ok"), (10, True, "ok"), (1_000, False, "note"), (100, False, "problem")],
)
def test_processes(soft, root, level):
    finding = machine.processes(soft, root=root)
    assert finding.level == level
    assert (level == "ok") or "EXECUTOR__PROCESS_LIMIT" in finding.fix


def test_java_and_mongod_are_looked_for_only_where_the_sandbox_would_start_them(monkeypatch):
    assert {"Java", "mongod"} <= {f.what for f in machine.findings(SandboxSettings())}
    monkeypatch.setenv("KAFKA__BOOTSTRAP_SERVERS", "kafka:9092")
    monkeypatch.setenv("MONGO__URI", "mongodb://mongo")
    assert not {"Java", "mongod"} & {f.what for f in machine.findings(SandboxSettings())}


@pytest.mark.parametrize(
    ("users", "root", "level"),
    [(2, True, "ok"), (2, False, "problem"), (0, True, "note"), (0, False, "note")],
)
def test_isolation_is_promised_only_where_the_executor_changes_the_user(users, root, level):
    finding = machine.isolation(users, root=root, runs=2)
    assert finding.level == level
    assert (level == "note") == ("not isolated" in finding.text)
    assert level == "ok" or finding.fix


def test_isolation_goes_by_the_executors_settings(monkeypatch):
    monkeypatch.setenv("EXECUTOR__STEP_UIDS", "[61011]")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    [finding] = [f for f in machine.findings(SandboxSettings()) if f.what == "isolation"]
    assert (finding.level, "1 other users, and up to 64 runs" in finding.text) == ("note", True)
    assert finding.fix == "Set EXECUTOR__STEP_UIDS to 64 numbers, or EXECUTOR__RUN_SLOTS to 1."
    monkeypatch.setenv("EXECUTOR__RUN_SLOTS", "1")
    [finding] = [f for f in machine.findings(SandboxSettings()) if f.what == "isolation"]
    assert (finding.level, "other users (1)" in finding.text) == ("ok", True)
    monkeypatch.setenv("EXECUTOR__STEP_UIDS", "nobody")
    [finding] = [f for f in machine.findings(SandboxSettings()) if f.what == "isolation"]
    assert finding.level == "problem"


@pytest.mark.parametrize(("skew", "level"), [(0.2, "ok"), (120.0, "problem"), (-30.0, "problem")])
def test_clocks(skew, level):
    [_, clocks] = dependencies._server(Answer("m:1", "8.0", "rs0", primary=True, skew_seconds=skew))
    assert (clocks.what, clocks.level) == ("clocks", level)
    assert (level == "ok") or "Synchronise" in clocks.fix


def test_a_set_without_primary():
    [server, _] = dependencies._server(Answer("m:1", "8.0", "rs0", primary=False, skew_seconds=0))
    assert (server.level, "no primary" in server.text) == ("problem", True)


def test_a_disk_that_is_nearly_full(monkeypatch, tmp_path):
    usage = SimpleNamespace(total=100 * 2**20, used=97 * 2**20, free=3 * 2**20)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    finding = dependencies._room(tmp_path)
    assert (finding.level, "nearly full" in finding.text) == ("problem", True)


def test_each_part_of_a_service_that_is_not_well_is_named(gateway, monkeypatch):
    for name in ("PROXY", "EXTRACTOR"):
        monkeypatch.setenv(f"CADENZA_{name}_URL", gateway.url)
    parts = {
        "process": "ok",
        "mongo": "not available",
        "consume:executor": "paused: too many messages failed; since 04:00",
        "relay": "no turn for 20 s",
    }
    gateway.answers["GET /health/ready"] = (503, {"status": "not ready", "parts": parts})
    found = [f for f in services.findings(CliSettings()) if f.what == "gateway"]
    assert [f.level for f in found] == ["problem"] * 3
    fixes = {f.text.split(": ")[1]: f.fix for f in found}
    assert "cadenza dlq resume executor" in fixes["consume:executor"]
    assert "goes on by itself" in fixes["mongo"]
    assert "log" in fixes["relay"]


def test_services_that_nobody_has_set_up_are_no_problem(monkeypatch):
    for name in ("", "PROXY_", "EXTRACTOR_"):
        monkeypatch.delenv(f"CADENZA_{name}URL", raising=False)
    monkeypatch.setenv("SANDBOX__GATEWAY_PORT", "9")
    found = [f for f in services.findings(CliSettings()) if f.what == "gateway"]
    assert [f.level for f in found] == ["note"]


def test_git_is_looked_for(monkeypatch):
    monkeypatch.setattr(machine.shutil, "which", lambda _: None)
    assert machine.git().level == "note"
    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert (machine.git().level, machine.git().text) == ("ok", "/usr/bin/git")


@pytest.mark.parametrize(
    ("given", "sandbox", "level"),
    [(True, False, "ok"), (False, True, "ok"), (False, False, "note")],
)
def test_encryption(given, sandbox, level):
    finding = machine.encryption(given=given, sandbox=sandbox)
    assert finding.level == level
    assert (level == "ok") or "openssl rand -base64 32" in finding.fix


def test_a_key_that_is_none_is_a_problem(monkeypatch):
    monkeypatch.setenv("SECURITY__ENCRYPTION_KEYS", '{"k": "short"}')
    (finding,) = [f for f in machine.findings(SandboxSettings()) if f.what == "encryption"]
    assert finding.level == "problem"


def test_a_browser_is_needed_only_where_the_settings_name_one(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    [finding] = browsers.findings()
    assert (finding.what, finding.level) == ("browser", "note")
    assert "apt-get install chromium" in finding.fix
    monkeypatch.setenv("EXECUTOR__BROWSER_PATH", str(tmp_path / "mine"))
    [finding] = browsers.findings()
    assert (finding.level, f"'{tmp_path}/mine' is no program" in finding.text) == ("problem", True)
    (tmp_path / "mine").write_text("#!/bin/sh\n")
    (tmp_path / "mine").chmod(0o755)
    finding, videos = browsers.findings()
    assert (finding.level, finding.text) == ("ok", str(tmp_path / "mine"))
    assert "ffmpeg" in videos.text
