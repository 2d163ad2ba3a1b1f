"""Where secrets come from, and which settings are secret."""

import pytest
from pydantic import SecretStr

from shared.errors import NotFound
from shared.security.secrets import SettingsSecrets, secrets_of
from shared.settings import ApiKey, AuthSettings, AwsSettings, MongoSettings, ServiceSettings


async def test_a_secret_belongs_to_its_tenant():
    source = SettingsSecrets({"demo": {"db": SecretStr("value")}})
    assert await source.get("demo", "db") == "value"
    for tenant, name in (("other", "db"), ("demo", "nothing")):
        with pytest.raises(NotFound, match=name) as raised:
            await source.get(tenant, name)
        assert "value" not in str(raised.value)


def test_every_secret_of_the_settings_is_found():
    settings = ServiceSettings(
        mongo=MongoSettings(uri=SecretStr("mongodb://u:p%40ss@db.example.com/?replicaSet=rs0")),
        aws=AwsSettings(access_key_id="id", secret_access_key=SecretStr("aws-secret")),
        auth=AuthSettings(
            api_keys=[ApiKey(key=SecretStr("key-1"), tenant="t", user="u")],
            webhook_secrets={"t": SecretStr("hmac")},
        ),
    )
    found = set(secrets_of(settings))
    assert {"aws-secret", "key-1", "hmac", "p%40ss", "p@ss"} <= found
    assert "id" not in found


def test_an_address_without_password_is_no_secret():
    assert secrets_of(ServiceSettings()) == []
