"""Jars: only what the checked-in list names, byte for byte."""

import pytest

from sandbox import jars
from sandbox.errors import ChecksumMismatch, FetchFailed


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / f"kafka-{jars.VERSION}"
    place.mkdir()
    (place / "a.jar").write_bytes(b"one")
    (place / "b.jar").write_bytes(b"two")
    return place


@pytest.fixture
def listed(folder, tmp_path):
    path = tmp_path / "list.sha256"
    jars.write_list(folder, path)
    return jars.read_list(path)


def test_what_is_listed_is_the_class_path(folder, listed, tmp_path):
    assert jars.kafka_jars(tmp_path, expected=listed) == [folder / "a.jar", folder / "b.jar"]


def test_other_bytes_are_refused_by_name(folder, listed, tmp_path):
    (folder / "a.jar").write_bytes(b"0ne")
    with pytest.raises(ChecksumMismatch, match=r"^a\.jar in .* remove that folder"):
        jars.kafka_jars(tmp_path, expected=listed)


def test_a_missing_jar_is_refused(folder, listed, tmp_path):
    (folder / "b.jar").unlink()
    with pytest.raises(ChecksumMismatch, match=r"b\.jar"):
        jars.kafka_jars(tmp_path, expected=listed)


def test_an_additional_jar_is_refused(folder, listed, tmp_path):
    (folder / "evil.jar").write_bytes(b"!")
    with pytest.raises(ChecksumMismatch, match=r"evil\.jar"):
        jars.kafka_jars(tmp_path, expected=listed)


def test_a_download_with_wrong_bytes_is_never_kept(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(jars, "resolve", lambda version: [folder / "a.jar"])
    with pytest.raises(ChecksumMismatch):
        jars.fetch(tmp_path / "cache" / "kafka", "1", {"a.jar": "00"})
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_unreachable_registry_is_one_sentence(monkeypatch):
    import jgo

    def refuse(endpoint):
        raise RuntimeError("cannot connect\nsecond line")

    monkeypatch.setattr(jgo, "build", refuse)
    with pytest.raises(FetchFailed) as failure:
        jars.resolve("4.3.1")
    assert "cannot connect" in failure.value.message
    assert "\n" not in failure.value.message
    assert "KAFKA__BOOTSTRAP_SERVERS" in failure.value.message


def test_the_checked_in_list_names_kafka_itself():
    names = jars.read_list(jars.LIST)
    assert f"kafka_2.13-{jars.VERSION}.jar" in names
    assert all(len(digest) == 64 for digest in names.values())
