"""Who gets in, and what is said to who does not."""

import pytest
from pydantic import SecretStr

from shared.errors import Unauthorized
from shared.settings import ApiKey, AuthSettings
from shared.web.auth import ApiKeyAuthenticator
from tests.builders.web import KEY

WANTED = {"plan": {"steps": [{"name": "a"}]}}


@pytest.mark.parametrize(
    ("headers", "tenant"),
    [
        ({"x-api-key": "demo-key"}, "demo"),
        ({"authorization": "Bearer demo-key"}, "demo"),
        ({"authorization": "bearer  demo-key "}, "demo"),
        ({"x-api-key": "other-kéy".encode()}, "other"),
    ],
)
async def test_a_known_key_gives_its_tenant(client, headers, tenant):
    answer = await client.post("/v1/runs", json=WANTED, headers=headers)
    assert (answer.status_code, answer.json()) == (202, {"tenant": tenant, "first": "a"})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": ""},
        {"x-api-key": "demo-ke"},
        {"x-api-key": "demo-key2"},
        {"x-api-key": b"\xff\xfe"},
        {"authorization": "Basic ZGVtby1rZXk6"},
        {"authorization": "demo-key"},
        {"authorization": "Bearer"},
    ],
)
async def test_everybody_else_gets_401(client, headers):
    answer = await client.post("/v1/runs", json=WANTED, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthorized"
    assert "Bearer" in answer.headers["www-authenticate"]
    assert "demo-key" not in answer.text


async def test_without_a_key_nothing_is_said_of_the_fields(client):
    answer = await client.post("/v1/runs", json={"plan": 1})
    assert answer.status_code == 401


async def test_a_role_is_needed(client):
    assert (await client.get("/v1/admin", headers=KEY)).json() == {"user": "demo"}
    answer = await client.get("/v1/admin", headers={"x-api-key": "other-kéy".encode()})
    assert answer.status_code == 403
    assert "admin" in answer.json()["detail"]
    assert (await client.get("/v1/admin")).status_code == 401


async def test_without_keys_in_the_settings_nobody_gets_in():
    with pytest.raises(Unauthorized):
        await ApiKeyAuthenticator(AuthSettings()).authenticate(None, "anything")


async def test_an_empty_key_in_the_settings_opens_nothing():
    settings = AuthSettings(api_keys=[ApiKey(key=SecretStr(""), tenant="t", user="u")])
    for offered in (None, "", " "):
        with pytest.raises(Unauthorized):
            await ApiKeyAuthenticator(settings).authenticate(None, offered)
