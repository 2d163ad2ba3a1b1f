"""Clients that call an application without a network."""

from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest
import structlog
from fastapi import FastAPI

from tests.builders.web import build


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Errors that a test provokes are not for the terminal."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
async def client_for() -> AsyncIterator[Callable[..., httpx.AsyncClient]]:
    """Makes clients that call an application directly, from the address `peer`."""
    clients = []

    def make(app: FastAPI, *, peer: str = "203.0.113.7") -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app, client=(peer, 50000))
        clients.append(httpx.AsyncClient(transport=transport, base_url="http://test"))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()


@pytest.fixture
def client(client_for) -> httpx.AsyncClient:
    return client_for(build())
