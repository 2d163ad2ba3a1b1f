"""A gateway is killed while it stores or removes an upload: the next one has it whole or not at all, and loses no byte."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from pymongo import AsyncMongoClient

from services.gateway.models import Requester
from services.gateway.repository.uploads import COLLECTION, MongoUploads
from services.gateway.uploads import LEFT_AFTER, Room, Uploads
from shared.clock import SystemClock
from shared.errors import NotFound
from shared.mongo.indexes import apply
from shared.objects.local import LocalStore

pytestmark = pytest.mark.breaks
DATA = b"an archive"
SHA = hashlib.sha256(DATA).hexdigest()
ANN = Requester("acme", "ann")


class NoAudit:
    async def record(self, **_):
        pass


def uploads_of(database, folder):
    return Uploads(
        MongoUploads(database),
        LocalStore(Path(folder) / "objects"),
        NoAudit(),
        clock=SystemClock(),
        room=Room(Path(folder), at_once=2),
        keep=timedelta(days=1),
    )


async def content():
    yield DATA


async def store_and_remove(uri, name, folder):
    async with AsyncMongoClient(uri, w="majority", tz_aware=True) as client:
        uploads = uploads_of(client[name], folder)
        await uploads.store(content(), ANN)
        await uploads.remove(SHA, ANN)


@pytest.mark.parametrize(
    "point", ["upload.begun", "upload.stored", "upload.removing", "upload.removed"]
)
async def test_killed_between_two_writes(mongo_settings, mongo_database, tmp_path, point):
    await apply(mongo_database, [COLLECTION])
    uri = mongo_settings.uri.get_secret_value()
    victim = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", __name__, uri, mongo_settings.database, str(tmp_path)],
        env={**os.environ, "CRASH_POINT": point},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert victim.returncode == -signal.SIGKILL, victim.stderr
    uploads = uploads_of(mongo_database, tmp_path)
    with pytest.raises(NotFound):
        await uploads.get("acme", SHA)

    view, new = await uploads.store(content(), ANN)
    assert (view.sha256, new) == (SHA, True)
    assert await uploads.get("acme", SHA) == view
    long_ago = SystemClock().now() - LEFT_AFTER - timedelta(hours=1)
    await mongo_database["uploads"].update_many(
        {"state": {"$ne": "stored"}}, {"$set": {"expires_at": long_ago}}
    )
    await uploads.sweep()
    (kept,) = [one async for one in mongo_database["uploads"].find()]
    objects = [path for path in (tmp_path / "objects" / "acme").rglob("*") if path.is_file()]
    assert [f"file://{path}" for path in objects] == [kept["uri"]]


if __name__ == "__main__":
    asyncio.run(store_and_remove(*sys.argv[1:]))
