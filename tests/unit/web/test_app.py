"""Limits, headers, addresses, health and docs of every service."""

import pytest

from shared.errors import ConfigurationError
from shared.runtime import Health
from tests.builders.web import KEY, build

WANTED = {"plan": {"steps": [{"name": "a"}]}}


async def chunks(count, size=1000):
    for _ in range(count):
        yield b" " * size


async def test_a_declared_length_above_the_limit_is_refused_unread(client_for):
    read = 0

    async def body():
        nonlocal read
        read += 1
        yield b"x" * 100_000

    client = client_for(build(max_body_bytes=10_000))
    headers = {**KEY, "content-length": "100000"}
    answer = await client.post("/v1/raw", content=body(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert "10000 bytes" in answer.json()["detail"]
    assert read == 0


@pytest.mark.parametrize("path", ["/v1/raw", "/v1/runs"])
async def test_a_body_without_length_is_refused_when_it_grows_too_large(client_for, path):
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 1000
            yield b" " * 1000

    client = client_for(build(max_body_bytes=10_000))
    answer = await client.post(path, content=endless(), headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert sent <= 12_000


async def test_a_body_of_exactly_the_limit_passes(client_for):
    client = client_for(build(max_body_bytes=10_000))
    assert (await client.post("/v1/raw", content=b"x" * 10_000)).json() == {"size": 10_000}
    assert (await client.post("/v1/raw", content=chunks(10))).json() == {"size": 10_000}
    assert (await client.post("/v1/raw", content=b"x" * 10_001)).status_code == 413


async def test_headers_have_a_limit(client):
    answer = await client.get("/v1/runs", headers={"x-large": "x" * 40_000})
    assert (answer.status_code, answer.json()["code"]) == (431, "headers_too_large")
    assert (await client.get("/v1/runs?q=" + "x" * 40_000)).status_code == 431


async def test_every_answer_carries_security_headers_and_an_id(client):
    for path in ("/v1/runs", "/v1/nothing", "/v1/raise/bug", "/health"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-request-id"]


async def test_a_good_request_id_is_taken_over_and_a_bad_one_is_not(client):
    answer = await client.get("/v1/me", headers={"x-request-id": "ci-42:a.b_c"})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "ci-42:a.b_c"
    for bad in ("a b", 'x"}', "x" * 129, ""):
        answer = await client.get("/v1/me", headers={"x-request-id": bad})
        assert answer.headers["x-request-id"] not in {bad, ""}


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.7", "10.9.9.9", "203.0.113.7"),
        ("10.0.0.1", "198.51.100.4", "198.51.100.4"),
        ("10.0.0.1", "1.2.3.4, 198.51.100.4, 10.0.0.2", "198.51.100.4"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "<script>", "10.0.0.1"),
        ("10.0.0.1", "evil, 10.0.0.2", "10.0.0.2"),
        ("fd00::1", "2001:db8::7", "2001:db8::7"),
    ],
)
async def test_an_address_is_believed_from_trusted_proxies_only(
    client_for, peer, forwarded, expected
):
    client = client_for(build(trusted_proxies=["10.0.0.0/8", "fd00::/8"]), peer=peer)
    answer = await client.get("/v1/me", headers={"x-forwarded-for": forwarded})
    assert answer.json()["ip"] == expected


async def test_without_trusted_proxies_the_header_counts_for_nothing(client):
    answer = await client.get("/v1/me", headers={"x-forwarded-for": "1.2.3.4"})
    assert answer.json()["ip"] == "203.0.113.7"


def test_a_wrong_network_is_a_wrong_setting():
    with pytest.raises(ConfigurationError, match="HTTP__TRUSTED_PROXIES"):
        build(trusted_proxies=["10.0.0.0/64"])


async def test_a_user_agent_is_cut_to_512_bytes(client):
    answer = await client.get("/v1/me", headers={"user-agent": ("ä" * 300).encode("latin-1")})
    agent = answer.json()["agent"]
    assert agent == "ä" * 256
    assert len(agent.encode()) <= 512


async def test_cors_is_off_unless_origins_are_set(client, client_for):
    origin = {"origin": "https://ui.example.com"}
    assert (
        "access-control-allow-origin" not in (await client.get("/v1/runs", headers=origin)).headers
    )
    open_client = client_for(build(allow_origins=["https://ui.example.com"]))
    answer = await open_client.get("/v1/runs", headers=origin)
    assert answer.headers["access-control-allow-origin"] == "https://ui.example.com"
    failed = await open_client.get("/v1/raise/bug", headers=origin)
    assert failed.headers["access-control-allow-origin"] == "https://ui.example.com"
    stranger = await open_client.get("/v1/runs", headers={"origin": "https://evil.example.com"})
    assert "access-control-allow-origin" not in stranger.headers


async def test_probes(client_for):
    health = Health()
    client = client_for(build(health))
    alive = await client.get("/health")
    assert alive.json() == {"status": "ok", "service": "Cadenza test", "version": "1.2.3"}
    assert (await client.get("/health/ready")).status_code == 200
    health.report("kafka", "not reachable")
    answer = await client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["parts"] == {"process": "ok", "kafka": "not reachable"}
    assert (await client.get("/health")).status_code == 200


async def test_docs_can_be_switched_off(client, client_for):
    for path in ("/docs", "/redoc", "/openapi.json"):
        answer = await client.get(path)
        assert answer.status_code == 200
        assert path.endswith("json") or "Cadenza test" in answer.text
    closed = client_for(build(docs=False))
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert (await closed.get(path)).status_code == 404


async def test_openapi_says_what_is_true(client):
    document = (await client.get("/openapi.json")).json()
    assert document["info"]["title"] == "Cadenza test"
    assert document["info"]["version"] == "1.2.3"
    run = document["paths"]["/v1/runs"]["post"]
    assert run["security"] == [{"ApiKey": []}, {"Bearer": []}]
    assert set(run["responses"]) == {"202", "default"}
    assert document["paths"]["/v1/admin"]["get"]["security"] == [{"ApiKey": []}, {"Bearer": []}]
    assert "security" not in document["paths"]["/health"]["get"]
    assert set(document["components"]["securitySchemes"]) == {"ApiKey", "Bearer"}
    assert "application/problem+json" in run["responses"]["default"]["content"]
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert document == (await client.get("/openapi.json")).json()


async def test_packed_bodies_are_refused(client):
    for name in ("content-encoding", "transfer-encoding"):
        answer = await client.post("/v1/raw", content=b"x", headers={name: "gzip"})
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_encoding")
    answer = await client.post("/v1/raw", content=b"x", headers={"content-encoding": "identity"})
    assert answer.status_code == 200


async def test_the_root_says_where_to_go_on(client, client_for):
    answer = (await client.get("/")).json()
    assert (answer["service"], answer["version"]) == ("Cadenza test", "1.2.3")
    assert set(answer["links"]) == {"health", "readiness", "metrics", "documentation", "openapi"}
    closed = (await client_for(build(docs=False)).get("/")).json()
    assert set(closed["links"]) == {"health", "readiness", "metrics"}


async def test_a_slash_too_much_is_not_found_and_not_redirected(client):
    answer = await client.get("/v1/runs/", headers={"host": "evil.example.com"})
    assert answer.status_code == 404
    assert "without the '/'" in answer.json()["detail"]
