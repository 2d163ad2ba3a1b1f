"""How the use case of sources is put together."""

import hashlib
import os

from services.executor.ports import Uploads
from services.executor.settings import ExecutorSettings
from services.executor.sources.bringing import Sources
from services.executor.sources.cache import PackCache
from services.executor.sources.git import Runner
from shared.objects.ports import ObjectStore
from shared.settings import SecuritySettings


def build_sources(
    settings: ExecutorSettings, uploads: Uploads, objects: ObjectStore, processes: Runner
) -> Sources:
    """One cache for all runs of this executor. Connects nothing."""
    group = settings.executor
    cache = PackCache(
        group.work_dir.resolve() / "sources",
        key=_sealing_key(settings.security),
        most_bytes=group.source_cache_bytes,
    )
    return Sources(
        cache,
        uploads=uploads,
        objects=objects,
        processes=processes,
        options=group.source_options(),
    )


def _sealing_key(security: SecuritySettings) -> bytes:
    """Of the cache of sources: steps must not know it. With one of the settings the cache outlives the process."""
    keys = [key.get_secret_value() for key in security.encryption_keys.values()]
    return hashlib.sha256(f"sources:{keys[0]}".encode()).digest() if keys else os.urandom(32)
