"""Objects in S3 or a store with its API. boto3 works in a pool of threads of its own.

`put_if` uses S3's conditional writes (`If-Match`, `If-None-Match: *`), which AWS answers exactly for writers that race.
An etag is S3's: writing the same bytes again may keep it.
"""

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import boto3
from boto3.exceptions import S3UploadFailedError
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import CadenzaError, Forbidden, RateLimited, StorageUnavailable
from shared.objects.files import open_source
from shared.objects.keys import (
    CHUNK,
    DEFAULT_TYPE,
    check_key,
    check_prefix,
    guess_type,
    key_behind,
    missing,
    uri_of,
)
from shared.objects.ports import ObjectInfo, PreconditionFailed
from shared.settings import AwsSettings

THREADS = 32
CONNECT_TIMEOUT = 3
READ_TIMEOUT = 30

T = TypeVar("T")

_MISSING = frozenset({"NoSuchKey", "404", "NotFound"})
_GUARDED = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})
_FORBIDDEN = frozenset({"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
_SLOW_DOWN = frozenset({"SlowDown", "RequestLimitExceeded", "Throttling", "TooManyRequests"})


class S3Store:
    """One bucket, or the part of it below `prefix`."""

    scheme = "s3"

    def __init__(
        self,
        bucket: str,
        *,
        aws: AwsSettings,
        prefix: str = "",
        encryption: str | None = None,
        kms_key_id: str | None = None,
    ) -> None:
        """`encryption`: `AES256` or `aws:kms` (then with `kms_key_id`); None leaves it to the bucket's default."""
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._base = f"s3://{bucket}/{self._prefix}"
        self._encryption = _encryption(encryption, kms_key_id)
        self._client = _build_client(aws)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="s3")
        # The port has no end of life: connections and threads go when the store does.
        weakref.finalize(self, _release, self._client, self._threads)

    async def put(self, key: str, data: bytes, *, content_type: str = DEFAULT_TYPE) -> ObjectInfo:
        return await self._put(key, data, content_type, {})

    async def put_if(
        self, key: str, data: bytes, *, etag: str | None, content_type: str = DEFAULT_TYPE
    ) -> ObjectInfo:
        guard = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": f'"{etag}"'}
        try:
            return await self._put(key, data, content_type, guard)
        except CadenzaError as error:
            if error.code == "object_missing":  # If-Match on nothing
                raise PreconditionFailed(key=key) from error
            raise

    async def put_file(
        self, key: str, path: str, *, content_type: str = DEFAULT_TYPE
    ) -> ObjectInfo:
        open_source(path).close()
        extra = {"ContentType": content_type, **self._encryption}
        await self._run(
            key,
            lambda: self._client.upload_file(path, self._bucket, self._full(key), ExtraArgs=extra),
        )
        return await self.info(key)

    async def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        return b"".join([chunk async for chunk in self.stream(key, start=start, length=length)])

    async def stream(
        self, key: str, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        if length == 0:
            await self.info(key)
            return
        body = await self._run(key, lambda: self._open(key, start, length))
        if body is None:
            return
        try:
            while chunk := await self._run(key, lambda: body.read(CHUNK)):
                yield chunk
        finally:
            body.close()

    async def info(self, key: str) -> ObjectInfo:
        head = await self._run(
            key, lambda: self._client.head_object(Bucket=self._bucket, Key=self._full(key))
        )
        return self._describe(
            key, head["ContentLength"], head["ETag"], head.get("ContentType", DEFAULT_TYPE)
        )

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        check_prefix(prefix)
        following: dict[str, str] = {}
        while True:
            page = await self._run(prefix, partial(self._page, prefix, following))
            for entry in page.get("Contents", ()):
                key = entry["Key"].removeprefix(self._prefix)
                yield self._describe(key, entry["Size"], entry["ETag"], guess_type(key))
            if not page.get("IsTruncated"):
                return
            following = {"ContinuationToken": page["NextContinuationToken"]}

    async def delete(self, key: str) -> None:
        await self._run(
            key, lambda: self._client.delete_object(Bucket=self._bucket, Key=self._full(key))
        )

    def key_of(self, uri: str) -> str:
        return key_behind(uri, self._base)

    async def _put(
        self, key: str, data: bytes, content_type: str, guard: Mapping[str, str]
    ) -> ObjectInfo:
        answer = await self._run(
            key,
            lambda: self._client.put_object(
                Bucket=self._bucket,
                Key=self._full(key),
                Body=data,
                ContentType=content_type,
                **self._encryption,
                **guard,
            ),
        )
        return self._describe(key, len(data), answer["ETag"], content_type)

    def _open(self, key: str, start: int, length: int | None) -> Any:
        """The body to read from; None when the range lies behind the object's end."""
        wanted: dict[str, str] = {}
        if start or length is not None:
            end = "" if length is None else start + length - 1
            wanted = {"Range": f"bytes={start}-{end}"}
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._full(key), **wanted)
        except ClientError as error:
            if error.response["Error"]["Code"] in {"InvalidRange", "416"}:
                return None
            raise
        return answer["Body"]

    def _page(self, prefix: str, following: Mapping[str, str]) -> Any:
        return self._client.list_objects_v2(
            Bucket=self._bucket, Prefix=self._prefix + prefix, **following
        )

    def _full(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _describe(self, key: str, size: int, etag: str, content_type: str) -> ObjectInfo:
        return ObjectInfo(key, uri_of(self._base, key), size, etag.strip('"'), content_type)

    async def _run(self, key: str, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except ClientError as error:
            raise self._translate(key, error) from error
        except S3UploadFailedError as error:
            cause = error.__context__
            if isinstance(cause, ClientError):
                raise self._translate(key, cause) from error
            raise StorageUnavailable("S3 did not take the object", key=key) from error
        except (BotoCoreError, OSError) as error:
            raise StorageUnavailable(f"S3 cannot be used: {error}", key=key) from error

    def _translate(self, key: str, error: ClientError) -> CadenzaError:
        code = error.response["Error"]["Code"]
        if code in _MISSING:
            return missing(key)
        if code in _GUARDED:
            return PreconditionFailed(key=key)
        if code in _FORBIDDEN:
            return Forbidden(f"S3 refused access to bucket '{self._bucket}' ({code})", key=key)
        if code in _SLOW_DOWN:
            return RateLimited("S3 asks to slow down", key=key)
        return StorageUnavailable(f"S3 bucket '{self._bucket}' answered {code}", key=key)


def _build_client(aws: AwsSettings) -> Any:
    secret = aws.secret_access_key
    return boto3.session.Session().client(
        "s3",
        endpoint_url=aws.endpoint_url,
        region_name=aws.region,
        aws_access_key_id=aws.access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=Config(
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            retries={"mode": "standard", "total_max_attempts": 3},
            max_pool_connections=THREADS,
            # S3-compatible stores are addressed by path, AWS by host
            s3={"addressing_style": "path" if aws.endpoint_url else "auto"},
        ),
    )


def _release(client: Any, threads: ThreadPoolExecutor) -> None:
    threads.shutdown(wait=False)
    client.close()


def _encryption(kind: str | None, kms_key_id: str | None) -> dict[str, str]:
    if kind is None:
        return {}
    return {"ServerSideEncryption": kind} | ({"SSEKMSKeyId": kms_key_id} if kms_key_id else {})
