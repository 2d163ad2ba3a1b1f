"""The settings name the store."""

import pytest

from shared.errors import ConfigurationError
from shared.objects.factory import build_store
from shared.settings import AwsSettings, ObjectsSettings


@pytest.mark.parametrize(
    ("uri", "base"),
    [
        ("file:///srv/lake", "file:///srv/lake/"),
        ("file:///srv/my%20lake/", "file:///srv/my%20lake/"),
        ("s3://bucket", "s3://bucket/"),
        ("s3://bucket/a/b/", "s3://bucket/a/b/"),
        ("s3://bucket/a?encryption=aws:kms&kms_key_id=k", "s3://bucket/a/"),
    ],
)
def test_a_uri_names_a_store(uri, base):
    store = build_store(ObjectsSettings(uri=uri), AwsSettings(), None)
    assert store.key_of(f"{base}demo/a%20b") == "demo/a b"
    assert base.startswith(f"{store.scheme}:")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/srv/lake",
        "file://srv/lake",
        "file:///",
        "s3://",
        "s3:///bucket",
        "gridfs://",
        "ftp://x/y",
    ],
)
def test_anything_else_is_a_wrong_setting(uri):
    with pytest.raises(ConfigurationError, match="OBJECTS__URI"):
        build_store(ObjectsSettings(uri=uri), AwsSettings(), None)


def test_gridfs_needs_a_database():
    with pytest.raises(ConfigurationError, match="no database"):
        build_store(ObjectsSettings(uri="gridfs://artifacts"), AwsSettings(), None)
