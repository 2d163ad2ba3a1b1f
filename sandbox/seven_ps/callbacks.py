"""Tells the end of a job to whoever asked for it: a POST signed with HMAC-SHA256, as the gateway expects it.

It is told once. Who must not miss it asks for the status as well.
"""

import asyncio
import hashlib
import hmac
import json
import urllib.request
from collections.abc import Callable

import structlog

from sandbox.seven_ps.jobs import Job

log = structlog.get_logger()
TIMEOUT_SECONDS = 10.0
# A proxy that the environment names is for the world outside.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Callbacks:
    """Calls back at the right time. Without a secret the calls are not signed."""

    def __init__(self, *, tenant: str | None = None, secret: str | None = None) -> None:
        self._tenant = tenant
        self._secret = secret
        self._planned: set[asyncio.Task[None]] = set()

    def plan(self, job: Job, url: str, now: Callable[[], int]) -> None:
        """Call when the job has ended; one that never ends is never told."""
        if job.faults.endless or not url.startswith(("http://", "https://")):
            return
        task = asyncio.create_task(self._call(job, url, now))
        self._planned.add(task)
        task.add_done_callback(self._planned.discard)

    async def _call(self, job: Job, url: str, now: Callable[[], int]) -> None:
        await asyncio.sleep(max(0.0, (job.ends - now()) / 1000) + 0.002)
        body = {"executionId": job.id, "status": job.status(now())["status"]}
        try:
            await asyncio.to_thread(self._post, url, json.dumps(body).encode())
        except OSError as error:
            log.warning("callback.failed", job=job.id, error=str(error))

    def _post(self, url: str, raw: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        if self._tenant and self._secret:
            digest = hmac.new(self._secret.encode(), raw, hashlib.sha256).hexdigest()
            headers["X-Cadenza-Tenant"] = self._tenant
            headers["X-Cadenza-Signature"] = f"sha256={digest}"
        request = urllib.request.Request(url, data=raw, headers=headers)
        with _direct.open(request, timeout=TIMEOUT_SECONDS):
            return
