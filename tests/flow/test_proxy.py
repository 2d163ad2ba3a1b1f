"""The whole proxy in this process, in front of the Virtuoso simulator and of an upstream that behaves badly."""

import asyncio
import json
import logging
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from aiokafka import AIOKafkaConsumer
from pydantic import HttpUrl, SecretStr

from sandbox.ports import free_port
from services.proxy.bootstrap import build_app
from services.proxy.repository import COLLECTIONS
from services.proxy.settings import ProxyGroup, ProxySettings
from shared.events.proxy import ProxyEvent
from shared.kafka.topics import apply_topics
from shared.mongo.client import Mongo
from shared.mongo.indexes import apply
from shared.settings import ApiKey, AuthSettings, HttpSettings, KafkaSettings
from tests.unit.proxy.fakes import RecordingEvents

ROOT = Path(__file__).parents[2]
TOKEN = "sandbox-token"
KEYS = [
    ApiKey(key=SecretStr("demo-key"), tenant="demo", user="demo", roles=["admin"]),
    ApiKey(key=SecretStr("other-key"), tenant="other", user="other"),
]


class World:
    def __init__(self, app, client, events):
        self.app, self.client, self.events = app, client, events

    async def call(self, method, path, *, key="demo-key", **options):
        return await self.client.request(
            method, path, headers={"X-API-Key": key, **options.pop("headers", {})}, **options
        )

    async def run(self, command, arguments, **place):
        return await self.call(
            "POST", f"/v1/commands/{command}", json={"arguments": arguments, **place}
        )

    async def checkpoint(self):
        """A fresh, attached checkpoint, made through the pass-through as a client would."""
        post = lambda path, body: self.call("POST", f"/api{path}", json=body)  # noqa: E731
        project = (
            await post("/projects", {"name": f"p-{free_port()}", "organizationId": 1})
        ).json()["item"]["id"]
        goal = (
            await post(
                "/goals",
                {
                    "projectId": project,
                    "name": "g",
                    "url": "https://x.test",
                    "createFirstJourney": True,
                },
            )
        ).json()["item"]["id"]
        versions = (await self.call("GET", f"/api/goals/{goal}/versions")).json()
        snapshot = versions["item"]["snapshots"][0]["snapshotId"]
        journey = (
            await post(
                "/testsuites",
                {
                    "goalId": goal,
                    "snapshotId": snapshot,
                    "name": "j",
                    "title": "j",
                    "archived": False,
                    "draft": True,
                },
            )
        ).json()["item"]["id"]
        case = (
            await post("/testcases", {"goalId": goal, "snapshotId": snapshot, "title": "c"})
        ).json()["item"]["id"]
        attached = await post(
            f"/testsuites/{journey}/checkpoints/attach", {"checkpointId": case, "position": 2}
        )
        assert attached.status_code == 200, attached.text
        return journey, case

    async def steps(self, journey, checkpoint):
        tree = (await self.call("GET", f"/api/testsuites/{journey}?envelope=false")).json()
        [case] = [one for one in tree["cases"] if one["id"] == checkpoint]
        return case["steps"]


@pytest.fixture(scope="module")
def simulator():
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox.virtuoso", "--port", str(port)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    try:
        process.stdout.readline()
        for _ in range(200):
            try:
                httpx.get(f"http://127.0.0.1:{port}/_simulator/health", trust_env=False)
                break
            except httpx.TransportError:
                import time

                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


@pytest.fixture
async def started(mongo_settings):
    """Builds proxies in front of a given upstream, and ends them."""
    opened = []

    async def start(url, *, kafka=None, **group):
        settings = ProxySettings(
            mongo=mongo_settings,
            kafka=kafka or KafkaSettings(),
            auth=AuthSettings(api_keys=KEYS),
            http=HttpSettings(port=0),
            proxy=ProxyGroup(upstream_url=HttpUrl(url), upstream_token=SecretStr(TOKEN), **group),
        )
        mongo = Mongo(mongo_settings)
        await apply(mongo.database, COLLECTIONS)
        await mongo.stop()
        events = None if kafka else RecordingEvents()
        app = build_app(settings, events=events)
        for part in app.resources:
            await part.start()
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app.web), base_url="http://proxy")
        opened.append((app, client))
        return World(app, client, events)

    yield start
    for app, client in opened:
        await client.aclose()
        for part in reversed(app.resources):
            await part.stop()


@pytest.fixture
async def world(started, simulator):
    httpx.post(f"{simulator}/_simulator/reset", trust_env=False)
    return await started(f"{simulator}/api")


@pytest.fixture
async def upstream():
    """An upstream of which each test says how it behaves: `handlers[path] = coroutine(request)`."""
    handlers, seen = {}, []

    async def handle(request):
        seen.append((request, await request.read()))
        return await handlers[request.path](request)

    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    yield handlers, seen, f"http://127.0.0.1:{port}/api"
    await runner.cleanup()


async def test_catalogue(world):
    shown = (await world.call("GET", "/v1/commands")).json()["items"]
    assert [one["name"] for one in shown] == [
        "step-navigate.to",
        "step-interact.click",
        "step-interact.write",
        "step-assert.exists",
        "step-wait.time",
    ]
    one = (await world.call("GET", "/v1/commands/step-click")).json()
    assert one["arguments"]["type"] == "object"
    assert (await world.call("GET", "/v1/commands/step-clik")).status_code == 404


async def test_five_commands_through_a_session_are_read_back(world):
    journey, checkpoint = await world.checkpoint()
    made = await world.call(
        "POST",
        "/v1/sessions",
        json={"journey_id": journey, "checkpoint_id": f"cp_{checkpoint}", "metadata": {"run": 1}},
    )
    assert made.status_code == 201
    session = made.json()
    assert made.headers["location"] == f"/v1/sessions/{session['id']}"
    commands = [
        ("step-navigate.to", {"url": "https://shop.example.com"}, "NAVIGATE"),
        ("step-write", {"element": "Email", "text": "a@example.test"}, "WRITE"),
        ("step-click", {"element": "Log in"}, "CLICK"),
        ("step-wait.time", {"milliseconds": 500}, "WAIT"),
        ("step-assert.exists", {"element": "Welcome"}, "ASSERT_EXISTS"),
    ]
    for place, (name, arguments, _) in enumerate(commands, start=1):
        answer = await world.run(name, arguments, session_id=session["id"])
        assert answer.status_code == 200, answer.text
        assert answer.json()["position"] == place
        assert answer.json()["created"]["step_id"]
    steps = await world.steps(journey, checkpoint)
    assert [step["action"] for step in steps] == [action for _, _, action in commands]
    async with asyncio.timeout(5):
        while len(world.events.published) < 5:
            await asyncio.sleep(0.01)
    assert {event.key() for event in world.events.published} == {session["id"]}
    assert [event.created["step_id"] for event in world.events.published] == [
        step["id"] for step in steps
    ]


async def test_positions_are_dense_under_fifty_writers_on_two_replicas(world, started, simulator):
    other = await started(f"{simulator}/api")
    journey, checkpoint = await world.checkpoint()
    session = (await world.call("POST", "/v1/sessions", json={"checkpoint_id": checkpoint})).json()[
        "id"
    ]
    answers = await asyncio.gather(
        *(
            (world, other)[n % 2].run("step-wait.time", {"milliseconds": n}, session_id=session)
            for n in range(50)
        )
    )
    assert sorted(answer.json()["position"] for answer in answers) == list(range(1, 51))
    assert len(await world.steps(journey, checkpoint)) == 50
    assert (await world.call("GET", f"/v1/sessions/{session}")).json()["next_position"] == 51


async def test_dry_run_makes_no_call(world, simulator):
    answer = await world.call(
        "POST",
        "/v1/commands/step-click?dry_run=true",
        json={"arguments": {"element": "X"}, "checkpoint_id": "1680449", "position": 3},
    )
    assert answer.json() == {
        "method": "POST",
        "path": "/teststeps?envelope=false",
        "body": {
            "checkpointId": 1680449,
            "stepIndex": 3,
            "parsedStep": {
                "action": "CLICK",
                "value": "",
                "target": {"selectors": [{"type": "GUESS", "value": '{"clue":"X"}'}]},
                "meta": {"kind": "CLICK", "type": "NATURAL"},
            },
        },
    }
    assert httpx.get(f"{simulator}/_simulator/requests", trust_env=False).json() == {}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"arguments": {"element": "X"}}, "checkpoint_id"),
        ({"arguments": {"element": "X"}, "checkpoint_id": 1, "session_id": "s"}, "body"),
        ({"arguments": {"elment": "X"}, "checkpoint_id": 1}, "arguments"),
        ({"arguments": {"element": "X"}, "checkpoint_id": "one"}, "checkpoint_id"),
        ({"arguments": {"element": "X"}, "checkpoint_id": 1, "position": -3}, "position"),
        ({"element": "X", "checkpoint_id": 1}, "element"),
    ],
)
async def test_bad_orders_name_the_field(world, body, field):
    answer = await world.call("POST", "/v1/commands/step-click", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert any(one["field"].startswith(field) for one in answer.json()["errors"]), answer.text


async def test_upstream_refusal_is_a_problem_with_its_code(world):
    answer = await world.run("step-click", {"element": "X"}, checkpoint_id=404404)
    assert answer.status_code == 404
    problem = answer.json()
    assert problem["code"] == "upstream_not_found"
    assert problem["upstream"]["code"] in {"1403", "2500"}
    [event] = [one async for one in _events(world, 1)]
    assert (event.type, event.upstream_status) == ("command.failed", 404)


async def test_unknown_checkpoint_of_a_session(world):
    answer = await world.call("POST", "/v1/sessions", json={"checkpoint_id": 404404})
    assert answer.status_code == 404
    session = (await world.call("POST", "/v1/sessions", json={})).json()["id"]
    assert (
        await world.call("PATCH", f"/v1/sessions/{session}", json={"checkpoint_id": 404404})
    ).status_code == 404


async def test_sessions_context_and_life(world):
    _, checkpoint = await world.checkpoint()
    opened = (
        await world.call(
            "POST",
            "/v1/sessions",
            json={"project_id": "12", "goal_id": 3, "checkpoint_id": checkpoint},
        )
    ).json()
    path = f"/v1/sessions/{opened['id']}"
    moved = (await world.call("PATCH", path, json={"goal_id": 4})).json()
    assert (
        moved["project_id"],
        moved["goal_id"],
        moved["checkpoint_id"],
        moved["next_position"],
    ) == (12, 4, None, 1)
    assert (await world.call("GET", path, key="other-key")).status_code == 404
    assert (await world.call("GET", "/v1/sessions", key="other-key")).json()["items"] == []
    assert [one["id"] for one in (await world.call("GET", "/v1/sessions")).json()["items"]] == [
        opened["id"]
    ]
    assert (await world.call("DELETE", path)).status_code == 204
    assert (await world.call("GET", path)).status_code == 404
    big = await world.call("POST", "/v1/sessions", json={"metadata": {"x": "y" * 20_000}})
    assert (big.status_code, big.json()["errors"][0]["field"]) == (422, "metadata")


async def test_nobody_enters_without_a_key(world):
    for method, path in (
        ("GET", "/v1/commands"),
        ("POST", "/v1/commands/step-click"),
        ("GET", "/v1/sessions"),
        ("GET", "/api/projects"),
    ):
        assert (await world.client.request(method, path)).status_code == 401


async def test_pass_through_hands_on_method_query_body_status_and_type(started, upstream):
    handlers, seen, url = upstream

    async def echo(request):
        return web.Response(
            status=207,
            body=b"\x00\xffraw",
            headers={
                "content-type": "image/png",
                "etag": '"1"',
                "set-cookie": "a=b",
                "x-internal": "1",
            },
        )

    handlers["/api/a b/c"] = echo
    world = await started(url)
    answer = await world.call(
        "PUT",
        "/api/a%20b/c?x=%C3%A9&y=1&y=2",
        content=b"body",
        headers={
            "content-type": "text/csv",
            "authorization": "Bearer callers-own",
            "cookie": "s=1",
            "connection": "x-hop",
            "x-hop": "1",
            "if-none-match": '"1"',
        },
    )
    assert (
        answer.status_code,
        answer.content,
        answer.headers["content-type"],
        answer.headers["etag"],
    ) == (207, b"\x00\xffraw", "image/png", '"1"')
    assert "set-cookie" not in answer.headers
    assert "x-internal" not in answer.headers
    [(request, body)] = seen
    assert (request.method, body, request.rel_url.raw_query_string) == (
        "PUT",
        b"body",
        "x=%C3%A9&y=1&y=2",
    )
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.headers["Content-Type"] == "text/csv"
    assert request.headers["If-None-Match"] == '"1"'
    sent = "\n".join(f"{name}: {value}" for name, value in request.headers.items())
    assert "callers-own" not in sent
    assert "demo-key" not in sent
    for name in ("X-API-Key", "Cookie", "X-Hop"):
        assert name not in request.headers


async def test_the_token_never_comes_out(started, upstream, caplog, capfd):
    handlers, _, url = upstream

    async def tells(request):
        text = json.dumps(
            {
                "success": False,
                "error": {"code": "1", "message": f"bad {request.headers['Authorization']}"},
            }
        )
        return web.Response(
            status=400, text=text, content_type="application/json", headers={"etag": TOKEN}
        )

    handlers["/api/user/tokens"] = handlers["/api/teststeps"] = tells
    world = await started(url)
    caplog.set_level(logging.DEBUG)
    passed = await world.call("GET", "/api/user/tokens")
    ordered = await world.run("step-click", {"element": "X"}, checkpoint_id=1)
    dry = await world.call(
        "POST",
        "/v1/commands/step-click?dry_run=true",
        json={"arguments": {"element": "X"}, "checkpoint_id": 1},
    )
    [event] = [one async for one in _events(world, 1)]
    written = capfd.readouterr()
    for text in (
        passed.text,
        str(passed.headers),
        ordered.text,
        dry.text,
        event.body().decode(),
        caplog.text,
        written.out,
        written.err,
    ):
        assert TOKEN not in text
    assert passed.status_code == 400
    assert "[redacted]" in passed.text
    assert "[redacted]" in ordered.json()["upstream"]["message"]


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("slow", 504, "upstream_timeout"),
        ("drops", 502, "upstream_unavailable"),
        ("page", 502, "upstream_no_json"),
        ("text", 502, "upstream_no_json"),
        ("redirect", 502, "upstream_invalid"),
        ("denied", 502, "upstream_denied"),
        ("huge", 502, "upstream_invalid"),
    ],
)
async def test_bad_upstreams_become_problems(started, upstream, kind, status, code):
    handlers, _, url = upstream

    async def slow(request):
        await asyncio.sleep(2)
        return web.Response()

    async def drops(request):
        request.transport.close()
        return web.Response()

    answers = {
        "page": lambda: web.Response(text="<html>log in</html>", content_type="text/html"),
        "text": lambda: web.Response(text="Not Found"),
        "redirect": lambda: web.Response(
            status=301, headers={"location": "https://ui.example.test"}
        ),
        "denied": lambda: web.json_response(
            {"success": False, "error": {"code": "401", "message": "Unauthorized"}}, status=401
        ),
        "huge": lambda: web.Response(body=b"x" * 200_000),
    }

    async def answers_badly(request):
        return answers[kind]()

    handlers["/api/projects"] = {"slow": slow, "drops": drops}.get(kind, answers_badly)
    handlers["/api/teststeps"] = handlers["/api/projects"]
    world = await started(url, timeout_seconds=0.3, max_answer_bytes=100_000)
    for answer in (
        await world.call("GET", "/api/projects"),
        await world.run("step-click", {"element": "X"}, checkpoint_id=1),
    ):
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        assert answer.headers["content-type"] == "application/problem+json"


async def test_unreachable_upstream(started):
    world = await started(f"http://127.0.0.1:{free_port()}/api")
    answer = await world.call("GET", "/api/projects")
    assert (answer.status_code, answer.json()["code"]) == (502, "upstream_unavailable")


async def test_paths_cannot_leave_the_base(started, upstream):
    _, seen, url = upstream
    world = await started(url)
    answer = await world.call("GET", "/api/%2e%2e/secret")
    assert answer.status_code in {404, 422}
    assert not seen


async def test_a_body_over_the_limit_is_refused(started, upstream):
    _, seen, url = upstream
    world = await started(url)
    answer = await world.call("POST", "/api/projects", content=b"x" * (4 * 2**20 + 1))
    assert answer.status_code == 413
    assert not seen


async def test_events_reach_kafka_in_order_with_their_headers(started, simulator, kafka_settings):
    await apply_topics(kafka_settings)
    world = await started(f"{simulator}/api", kafka=kafka_settings)
    _, checkpoint = await world.checkpoint()
    session = (await world.call("POST", "/v1/sessions", json={"checkpoint_id": checkpoint})).json()[
        "id"
    ]
    created = [
        (await world.run("step-wait.time", {"milliseconds": n}, session_id=session)).json()[
            "created"
        ]["step_id"]
        for n in range(5)
    ]
    loose = await world.run("step-click", {"element": "X"}, checkpoint_id=404404)
    assert loose.status_code == 404
    consumer = AIOKafkaConsumer(
        "proxy-events",
        bootstrap_servers=kafka_settings.bootstrap_servers,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    found = []
    try:
        async with asyncio.timeout(15):
            async for message in consumer:
                found.append(
                    (
                        message.key,
                        ProxyEvent.model_validate_json(message.value),
                        dict(message.headers),
                    )
                )
                if len(found) == 6:
                    break
    finally:
        await consumer.stop()
    assert [
        event.created["step_id"] for key, event, _ in found if key == session.encode()
    ] == created
    [(_, failed, headers)] = [one for one in found if one[0] == b"demo"]
    assert failed.type == "command.failed"
    assert headers["ce_type"] == b"cadenza.command.failed"
    assert headers["ce_tenant"] == b"demo"


async def test_ready_with_docs_and_openapi(world):
    assert (await world.client.get("/health/ready")).status_code == 200
    document = (await world.client.get("/openapi.json")).json()
    assert "/v1/commands/{name}" in document["paths"]
    assert (await world.client.get("/docs")).status_code == 200


async def _events(world, count):
    async with asyncio.timeout(5):
        while len(world.events.published) < count:
            await asyncio.sleep(0.01)
    for event in world.events.published:
        yield event
