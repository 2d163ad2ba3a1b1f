"""Secrets and variables over REST: who may set them, who may read what, and that a secret's value never comes back."""

import base64
import json
import secrets

import pytest
from pydantic import SecretStr

from services.executor.repository.tenant_values import (
    MongoSecrets,
    MongoVariables,
    SecretUnreadable,
)
from shared.errors import NotFound
from shared.security.encryption import cipher_of
from shared.settings import SecuritySettings
from tests.builders.gateway import OTHER, RecordingSender, eventually, running

VALUE = "correct-horse-battery-staple"


def some_keys(*names):
    return SecuritySettings(
        encryption_keys={
            name: SecretStr(base64.b64encode(secrets.token_bytes(32)).decode()) for name in names
        }
    )


KEYS = some_keys("now")


@pytest.fixture
async def gateway(mongo_settings, kafka_settings, tmp_path):
    parts = {"sender": RecordingSender()}
    async with running(mongo_settings, kafka_settings, tmp_path, parts=parts, security=KEYS) as it:
        yield it


async def put(gateway, path, value, **options):
    return await gateway.client.put(path, json={"value": value}, **options)


def forms_of(value):
    raw = value.encode()
    return {value, base64.b64encode(raw).decode(), raw.hex(), value[::-1]}


async def test_a_secret_goes_in_and_never_comes_back(gateway, capfd):
    answers = [await put(gateway, "/v1/secrets/DB_PASSWORD", VALUE) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.json()["version"] for answer in answers] == [1, 2]
    answers.append(await gateway.client.get("/v1/secrets"))
    assert [one["name"] for one in answers[-1].json()["items"]] == ["DB_PASSWORD"]
    assert set(answers[-1].json()["items"][0]) == {
        "name", "version", "created_at", "updated_at", "updated_by",
    }  # fmt: skip
    answers += [
        await gateway.client.get("/v1/secrets/DB_PASSWORD"),
        await gateway.client.post("/v1/secrets/DB_PASSWORD", json={"value": VALUE}),
        await gateway.client.put("/v1/secrets/DB_PASSWORD", json={"value": VALUE, "x": 1}),
        await gateway.client.put("/v1/secrets/DB_PASSWORD", json=[VALUE]),
        await gateway.client.put("/v1/secrets/DB_PASSWORD", json={"value": [VALUE]}),
        await gateway.client.get("/v1/secrets", params={"cursor": VALUE}),
    ]
    assert [a.status_code for a in answers[3:]] == [405, 405, 422, 422, 422, 200]
    told = "".join(a.text + str(a.headers) for a in answers)
    assert VALUE not in told

    await eventually(lambda: gateway.database["audit_logs"].find_one({"action": "secret.set"}))
    stored = []
    for name in await gateway.database.list_collection_names():
        stored += [str(one) async for one in gateway.database[name].find()]
    assert len(stored) >= 2
    out = capfd.readouterr()
    for form in forms_of(VALUE):
        assert form not in "".join(stored)
        assert form not in out.out + out.err


async def test_the_executor_opens_it_and_nobody_else(gateway):
    await put(gateway, "/v1/secrets/token", VALUE)
    read = MongoSecrets(gateway.database, cipher_of(KEYS), seconds=0)
    assert await read.get("demo", "token") == VALUE
    with pytest.raises(NotFound):
        await read.get("other", "token")
    for keys in (some_keys("now"), some_keys("later"), SecuritySettings()):
        stranger = MongoSecrets(gateway.database, cipher_of(keys), seconds=0)
        with pytest.raises(SecretUnreadable, match="token"):
            await stranger.get("demo", "token")


async def test_a_value_moved_to_another_name_or_tenant_does_not_open(gateway):
    await put(gateway, "/v1/secrets/mine", VALUE)
    sealed = await gateway.database["secrets"].find_one({"name": "mine"})
    for tenant, name in (("demo", "yours"), ("other", "mine")):
        moved = {**sealed, "_id": f"{tenant}/{name}", "tenant": tenant, "name": name}
        await gateway.database["secrets"].insert_one(moved)
        read = MongoSecrets(gateway.database, cipher_of(KEYS), seconds=0)
        with pytest.raises(SecretUnreadable):
            await read.get(tenant, name)


async def test_a_key_is_rotated_by_putting_a_new_one_in_front(gateway):
    await put(gateway, "/v1/secrets/token", VALUE)
    newer = SecuritySettings(
        encryption_keys={**some_keys("later").encryption_keys, **KEYS.encryption_keys}
    )
    read = MongoSecrets(gateway.database, cipher_of(newer), seconds=0)
    assert await read.get("demo", "token") == VALUE


async def test_a_new_value_counts_when_the_old_one_is_forgotten(gateway):
    read = MongoSecrets(gateway.database, cipher_of(KEYS), seconds=3600)
    fresh = MongoSecrets(gateway.database, cipher_of(KEYS), seconds=0)
    await put(gateway, "/v1/secrets/token", "first-value")
    assert await read.get("demo", "token") == "first-value"
    await put(gateway, "/v1/secrets/token", "second-value")
    assert await read.get("demo", "token") == "first-value"
    assert await fresh.get("demo", "token") == "second-value"


async def test_variables_are_readable_and_listed_page_by_page(gateway):
    for number in range(5):
        answer = await put(gateway, f"/v1/variables/v{number}", f"value {number}\n")
        assert answer.json()["value"] == f"value {number}\n"
    page = (await gateway.client.get("/v1/variables", params={"limit": 3})).json()
    assert [one["name"] for one in page["items"]] == ["v0", "v1", "v2"]
    rest = await gateway.client.get("/v1/variables", params={"cursor": page["next_cursor"]})
    assert [one["value"] for one in rest.json()["items"]] == ["value 3\n", "value 4\n"]
    assert await MongoVariables(gateway.database, seconds=0).get("demo", "v1") == "value 1\n"


@pytest.mark.parametrize("kind", ["secrets", "variables"])
async def test_tenants_are_walls_and_changes_need_a_role(gateway, kind):
    assert (await put(gateway, f"/v1/{kind}/shared", VALUE)).status_code == 200
    assert (await gateway.client.get(f"/v1/{kind}", headers=OTHER)).json()["items"] == []
    refused = await put(gateway, f"/v1/{kind}/shared", VALUE, headers=OTHER)
    assert refused.status_code == 403
    assert (await gateway.client.delete(f"/v1/{kind}/shared", headers=OTHER)).status_code == 403
    assert (
        await put(gateway, f"/v1/{kind}/x", VALUE, headers={"X-API-Key": ""})
    ).status_code == 401

    assert (await gateway.client.delete(f"/v1/{kind}/shared")).status_code == 204
    gone = await gateway.client.delete(f"/v1/{kind}/shared")
    assert gone.status_code == 404
    assert gone.headers["content-type"] == "application/problem+json"
    assert (await gateway.client.get(f"/v1/{kind}")).json()["items"] == []
    actions = [f"{kind[:-1]}.set", f"{kind[:-1]}.delete"]

    async def noted():
        entries = [one async for one in gateway.database["audit_logs"].find().sort("_id")]
        return [one["action"] for one in entries] == actions and entries

    for entry in await eventually(noted):
        assert (entry["tenant"], entry["actor"]) == ("demo", "demo")
        assert entry["target"] == f"{kind[:-1]}/shared"
        assert VALUE not in str(entry)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/secrets/a.b", {"value": "x"}, "path.name"),
        ("/v1/secrets/" + "a" * 129, {"value": "x"}, "path.name"),
        ("/v1/variables/-a", {"value": "x"}, "path.name"),
        ("/v1/secrets/a", {"value": ""}, "value"),
        ("/v1/secrets/a", {"value": "a\0b"}, "value"),
        ("/v1/secrets/a", {"value": "a" * 65537}, "value"),
        ("/v1/secrets/a", {"value": 1}, "value"),
        ("/v1/secrets/a", {}, "value"),
        ("/v1/variables/a", {"value": "x", "secret": True}, "secret"),
    ],
)
async def test_bad_input_is_named(gateway, path, body, field):
    answer = await gateway.client.put(path, content=json.dumps(body))
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field


async def test_without_a_key_no_secret_is_taken(mongo_settings, kafka_settings, tmp_path):
    parts = {"sender": RecordingSender()}
    async with running(mongo_settings, kafka_settings, tmp_path, parts=parts) as gateway:
        answer = await put(gateway, "/v1/secrets/a", VALUE)
        assert (answer.status_code, answer.json()["code"]) == (409, "encryption_missing")
        assert (await put(gateway, "/v1/variables/a", VALUE)).status_code == 200
        assert await gateway.database["secrets"].count_documents({}) == 0


async def test_validation_tells_what_the_tenant_lacks(gateway):
    await put(gateway, "/v1/secrets/GIT_TOKEN", VALUE)
    await put(gateway, "/v1/variables/BASE_URL", "x")
    step = {
        "name": "one",
        "command": {"type": "shell", "command": "${{ secrets.GIT_TOKEN }} ${{ secrets.GIT_TOKE }}"},
        "input": {"url": "${{ vars.BASE_URL }}", "n": "${{ vars.COUNT }}"},
    }
    body = {"plan": {"name": "a", "steps": [step]}}
    answer = await gateway.client.post("/v1/executions/validate", json=body)
    assert answer.json()["warnings"] == [
        "there is no secret 'GIT_TOKE' yet; did you mean 'GIT_TOKEN'?",
        "there is no variable 'COUNT' yet",
    ]
    other = await gateway.client.post("/v1/executions/validate", json=body, headers=OTHER)
    assert len(other.json()["warnings"]) == 4
    assert "did you mean" not in other.text
