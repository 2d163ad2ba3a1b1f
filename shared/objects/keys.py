"""What a key may look like, the same for every backend, so that a lake can move from one to another."""

import mimetypes
from urllib.parse import quote, unquote

from shared.errors import FieldError, InvalidRequest
from shared.objects.ports import ObjectMissing

CHUNK = 1024 * 1024
DEFAULT_TYPE = "application/octet-stream"
MAX_KEY_BYTES = 1024  # S3's limit
MAX_PART_BYTES = 255  # a file system's limit

# not in every machine's list
mimetypes.add_type("application/vnd.apache.parquet", ".parquet")
mimetypes.add_type("application/x-ndjson", ".jsonl")


def check_key(key: str) -> str:
    """The key itself. Raises InvalidRequest for one that some backend could not keep, or that leads elsewhere."""
    if problem := _problem(key):
        message = f"an object key {problem}"
        raise InvalidRequest(message, errors=[FieldError("key", "object_key", message)])
    return key


def check_prefix(prefix: str) -> str:
    """The prefix itself; its whole parts obey the rules of keys. Raises InvalidRequest."""
    folder, slash, _ = prefix.rpartition("/")
    if slash:
        check_key(folder)
    return prefix


def _problem(key: str) -> str | None:
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        return "must be valid Unicode"
    if not 0 < len(encoded) <= MAX_KEY_BYTES:
        return f"must have 1 to {MAX_KEY_BYTES} bytes"
    if any(ord(char) < 32 or ord(char) == 127 for char in key):
        return "must not hold control characters"
    parts = key.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        return "must not hold an empty part, '.' or '..' between slashes"
    if any(len(part.encode()) > MAX_PART_BYTES for part in parts):
        return f"must not have more than {MAX_PART_BYTES} bytes between slashes"
    return None


def uri_of(base: str, key: str) -> str:
    """`base` ends with a slash."""
    return base + quote(key)


def key_behind(uri: str, base: str) -> str:
    """The key of a URI below `base`. Raises ObjectMissing for any other."""
    if not uri.startswith(base):
        raise ObjectMissing("the object lies in another store", uri=uri)
    return check_key(unquote(uri[len(base) :]))


def guess_type(key: str) -> str:
    """The content type that the key's ending suggests."""
    return mimetypes.guess_type(key)[0] or DEFAULT_TYPE


def missing(key: str) -> ObjectMissing:
    """The error for a key without an object."""
    return ObjectMissing(f"there is no object '{key}'", key=key)
