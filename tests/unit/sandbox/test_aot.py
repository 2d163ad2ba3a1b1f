"""The prepared classes of Kafka: used when they are there and fit."""

import importlib.metadata

from sandbox import aot


def test_without_the_file_brokers_start_as_they_are(tmp_path):
    assert aot.options(tmp_path / "nothing") == []


def test_the_file_is_that_of_this_kafka_and_this_runtime(tmp_path, monkeypatch):
    file = aot.cache_file(tmp_path)
    file.write_bytes(b"")
    assert f"-XX:AOTCache={file}" in aot.options(tmp_path)
    assert not aot.make(tmp_path), "it is there already"
    monkeypatch.setattr(importlib.metadata, "version", lambda name: f"{name} 1.2")
    assert aot.options(tmp_path) == []


def test_a_machine_without_the_wheel_has_none(tmp_path, monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert aot.cache_file(tmp_path) is None
    assert aot.options(tmp_path) == []
    assert not aot.make(tmp_path)
