"""Git sources come from where `http` steps may go: with the real git and a server of its own."""

import asyncio
import threading
from http.server import ThreadingHTTPServer
from ipaddress import ip_network

import pytest

from services.executor.addresses import AddressPolicy
from services.executor.sources.reaching import Host, host_of
from tests.unit.executor.test_sources import GitServer, Ground, Repository, shell

HERE = AddressPolicy([ip_network("127.0.0.1/32")])


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://git.example.com/a/b.git", Host("git.example.com", 443, web=True)),
        ("http://GIT.example.com:8080/a", Host("git.example.com", 8080, web=True)),
        ("https://[::1]/a", Host("::1", 443, web=True)),
        ("ssh://git@git.example.com:2222/a", Host("git.example.com", 2222, web=False)),
        ("git@git.example.com:group/a.git", Host("git.example.com", 22, web=False)),
        ("[::1]:group/a.git", Host("::1", 22, web=False)),
        ("file:///srv/a", None),
    ],
)
def test_where_a_repository_is(url, host):
    assert host_of(url) == host


class Open(GitServer):
    """Lets everybody in; notes who asks, and sends those who ask for `/elsewhere` away."""

    def do_GET(self):
        self.asked.append(self.path)
        if self.path.startswith("/elsewhere"):
            self.send_response(302)
            port = self.server.server_address[1]
            self.send_header(
                "location", f"http://127.0.0.1:{port}/repository/.git" + self.path[10:]
            )
            self.end_headers()
            return
        self.headers["authorization"] = self.login
        super().do_GET()

    do_POST = do_GET


@pytest.fixture
def server(tmp_path):
    Repository(tmp_path / "repository")
    handler = type("Handler", (Open,), {"root": tmp_path, "asked": []})
    serving = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield serving
    serving.shutdown()
    thread.join()
    serving.server_close()


async def fetched(ground, url):
    source = {"type": "git", "url": url}
    return await ground.run(shell("cat README.md", "a"), sources=[source])


async def test_private_addresses_are_refused_and_nobody_is_asked(tmp_path, server):
    port = server.server_address[1]
    ground = Ground(tmp_path, policy=AddressPolicy())
    for url in (
        f"http://127.0.0.1:{port}/repository/.git",
        f"http://localhost:{port}/repository/.git",
        f"ssh://git@127.0.0.1:{port}/repository",
        "http://169.254.169.254/latest/meta-data",
    ):
        journal = await fetched(ground, url)
        assert (journal.ended.status, journal.ended.reason) == ("failed", "address_refused"), url
        assert "EXECUTOR__HTTP_ALLOWED_NETWORKS" in journal.ended.error
    assert server.RequestHandlerClass.asked == []


async def test_git_connects_to_the_address_that_was_looked_at(tmp_path, server, monkeypatch):
    """A name that only we resolve: git would not find it by itself."""
    port = server.server_address[1]
    loop = asyncio.get_running_loop()

    async def known(host, port, **_):
        assert host == "rebound.invalid"
        return [(2, 1, 6, "", (one, port)) for one in ("10.255.255.1", "127.0.0.1")]

    monkeypatch.setattr(loop, "getaddrinfo", known)
    ground = Ground(tmp_path, policy=HERE)
    journal = await fetched(ground, f"http://rebound.invalid:{port}/repository/.git")
    assert journal.text_of("a") == "first\n", journal.ended


async def test_redirects_lead_nowhere(tmp_path, server):
    port = server.server_address[1]
    ground = Ground(tmp_path, policy=HERE)
    journal = await fetched(ground, f"http://127.0.0.1:{port}/elsewhere")
    assert journal.ended.reason in ("source_failed", "source_missing"), journal.ended
    assert not [path for path in server.RequestHandlerClass.asked if "repository" in path]
