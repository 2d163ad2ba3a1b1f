"""The object store that the settings name. Connects nothing.

file:///folder            local files
s3://bucket/prefix        S3; `?encryption=aws:kms&kms_key_id=…` asks for server-side encryption
gridfs://bucket           GridFS in the service's database
"""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pymongo.asynchronous.database import AsyncDatabase

from shared.errors import ConfigurationError
from shared.objects.local import LocalStore
from shared.objects.ports import ObjectStore
from shared.settings import AwsSettings, ObjectsSettings


def build_store(
    objects: ObjectsSettings, aws: AwsSettings, database: AsyncDatabase[Any] | None
) -> ObjectStore:
    """Raises ConfigurationError for a URI that names no store."""
    place = urlsplit(objects.uri)
    match place.scheme:
        case "file" if place.path.strip("/") and not place.netloc:
            return LocalStore(Path(unquote(place.path)))
        case "s3" if place.netloc:
            from shared.objects.s3 import S3Store  # boto3 takes long to import

            options = {name: values[-1] for name, values in parse_qs(place.query).items()}
            return S3Store(
                place.netloc,
                aws=aws,
                prefix=unquote(place.path),
                encryption=options.get("encryption"),
                kms_key_id=options.get("kms_key_id"),
            )
        case "gridfs" if place.netloc:
            if database is None:
                raise ConfigurationError("OBJECTS__URI names GridFS, but there is no database")
            from shared.objects.gridfs import GridFsStore

            return GridFsStore(database, place.netloc)
    raise ConfigurationError(
        f"OBJECTS__URI '{objects.uri}' must be file:///folder, s3://bucket/prefix or gridfs://bucket"
    )
