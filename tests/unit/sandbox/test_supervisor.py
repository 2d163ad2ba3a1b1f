"""What the sandbox decides before it starts anything."""

import io
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rich.console import Console

from sandbox.addresses import environment
from sandbox.board import Board
from sandbox.errors import DiskFull, PortTaken, SandboxError
from sandbox.ports import ensure_free, free_port
from sandbox.settings import SandboxSettings
from sandbox.supervisor import Sandbox


def board() -> Board:
    return Board(Console(file=io.StringIO()))


def test_a_taken_port_is_one_sentence_with_owner_and_setting():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortTaken) as taken:
            ensure_free(port, part="Kafka", setting="SANDBOX__KAFKA_PORT")
    message = taken.value.message
    assert message.startswith(f"Port {port}, which Kafka needs, is taken")
    assert "SANDBOX__KAFKA_PORT" in message
    assert "\n" not in message


def test_a_free_port_is_free():
    ensure_free(free_port(), part="anything")


def test_nobody_gets_the_same_port():
    """Not even connections: their source ports come out of another range."""
    with ThreadPoolExecutor(8) as threads:
        ports = list(threads.map(lambda _: free_port(), range(200)))
    assert len(set(ports)) == 200
    begin = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert begin < 11_000 or max(ports) < begin


def test_too_small_a_disk_is_refused_before_anything_starts(tmp_path):
    settings = SandboxSettings(data=tmp_path, min_free_mb=10**9)
    with pytest.raises(DiskFull, match="make room"):
        Sandbox(settings).start(board())


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SandboxError, match="cannot be used"):
        Sandbox(SandboxSettings(data=tmp_path / "file" / "data")).start(board())


def test_what_exists_elsewhere_is_not_started(monkeypatch):
    names = {part.name for part in Sandbox(SandboxSettings()).parts}
    assert {"Kafka", "MongoDB", "AWS (moto)", "Virtuoso simulator", "gateway"} <= names

    monkeypatch.setenv("KAFKA__BOOTSTRAP_SERVERS", "broker.example:9092")
    monkeypatch.setenv("MONGO__URI", "mongodb://db.example/?replicaSet=rs0")
    monkeypatch.setenv("AWS__ENDPOINT_URL", "https://aws.example")
    monkeypatch.setenv("PROXY__UPSTREAM_URL", "https://virtuoso.example/api")
    sandbox = Sandbox(SandboxSettings())
    assert {part.name for part in sandbox.parts} == names - {
        "Kafka", "MongoDB", "AWS (moto)", "Virtuoso simulator",
    }  # fmt: skip
    assert sandbox.addresses.kafka == "broker.example:9092"


def test_services_are_configured_by_environment_only_and_the_user_wins(monkeypatch, tmp_path):
    monkeypatch.setenv("EXECUTOR__RUN_SLOTS", "3")
    monkeypatch.setenv("AUTH__API_KEYS", "[]")
    monkeypatch.setenv("OBJECTS__URI", "s3://bucket/prefix")
    env = environment(SandboxSettings(gateway_port=4711), "gateway", work=tmp_path)
    assert env["EXECUTOR__RUN_SLOTS"] == "3"
    assert env["AUTH__API_KEYS"] == "[]"
    assert env["OBJECTS__URI"] == "s3://bucket/prefix"
    assert env["HTTP__PORT"] == "4711"
    assert env["KAFKA__BOOTSTRAP_SERVERS"] == "127.0.0.1:19092"
    assert json.loads(env["EXTRACTOR__CUSTOMERS"])["001"]["slug"] == "customer-001"


def test_keys_of_two_tenants_are_set(tmp_path):
    keys = json.loads(environment(SandboxSettings(), "proxy", work=tmp_path)["AUTH__API_KEYS"])
    assert {(key["key"], key["tenant"]) for key in keys} == {
        ("demo-key", "demo"),
        ("other-key", "other"),
    }


def test_the_board_tells_a_log_every_change():
    out = io.StringIO()
    with Board(Console(file=out, width=100)) as told:
        told.add("Kafka")
        told.teller("Kafka")("fetching 43 MB from Maven Central")
        told.done("Kafka", "ready on 127.0.0.1:1")
    assert "Kafka: fetching 43 MB from Maven Central" in out.getvalue()
    assert "Kafka: ready on 127.0.0.1:1 (" in out.getvalue()


def test_the_board_shows_a_table_to_people():
    out = io.StringIO()
    with Board(Console(file=out, width=100, force_terminal=True)) as told:
        told.add("MongoDB")
        told.done("MongoDB", "ready")
        told.add("Kafka")
        told.failed("Kafka")
    assert "✓" in out.getvalue()
    assert "✗" in out.getvalue()
