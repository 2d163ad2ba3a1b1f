"""One gateway for all hostile input of a file; afterwards it must be as well as before."""

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import psutil
import pytest

from sandbox.module import Module
from tests.promises.platform import Platform, platform

HARM = ("http.unexpected_error", "Traceback", "Exception in ASGI", "never retrieved", "CRITICAL")


@dataclass(frozen=True)
class Target:
    """The gateway under attack."""

    it: Platform
    module: Module

    @property
    def port(self) -> int:
        return int(self.module.url.rsplit(":", 1)[1])

    @property
    def memory_mb(self) -> float:
        return psutil.Process(self.module.pid).memory_info().rss / 2**20

    def client(self, key: str = "acme-key") -> httpx.Client:
        return httpx.Client(
            base_url=self.module.url, headers={"X-API-Key": key}, timeout=60, trust_env=False
        )

    def assert_unharmed(self, pid: int) -> None:
        assert self.module.pid == pid
        assert psutil.Process(pid).is_running()
        with self.client() as client:
            assert client.get("/health/ready").status_code == 200
        log = self.it.folder / f"{self.module.name}.log"
        harm = [line for line in log.read_text().splitlines() if any(word in line for word in HARM)]
        assert not harm, "\n".join(harm)[:4000]


@pytest.fixture(scope="module")
def target(kafka_process, mongo_process, tmp_path_factory) -> Iterator[Target]:
    with platform(kafka_process, mongo_process, tmp_path_factory.mktemp("hostile")) as it:
        gateway = it.service("gateway", HTTP__SLOW_REQUEST_SECONDS="2")
        hit = Target(it, gateway)
        pid = gateway.pid
        yield hit
        hit.assert_unharmed(pid)


@pytest.fixture(scope="module")
def client(target) -> Iterator[httpx.Client]:
    with target.client() as client:
        yield client
