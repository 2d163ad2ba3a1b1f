"""Where secret values come from, and which of the process's own settings are secret.

Plans name secrets (`${{ secrets.name }}`); a `SecretSource` gives the value to the one who runs the step, and nobody
stores it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr

from shared.errors import NotFound


class SecretSource(Protocol):
    """Secret values by tenant and name."""

    async def get(self, tenant: str, name: str) -> str:
        """Raises NotFound, also for a name that only another tenant has."""
        ...


class ChainedSecrets:
    """Several sources; the first that has a name gives its value."""

    def __init__(self, *sources: SecretSource) -> None:
        self._sources = sources

    async def get(self, tenant: str, name: str) -> str:
        for source in self._sources:
            try:
                return await source.get(tenant, name)
            except NotFound:
                continue
        raise NotFound(f"there is no secret '{name}'", name=name)


class SettingsSecrets:
    """Secrets that stand in the settings: tenant → name → value."""

    def __init__(self, values: Mapping[str, Mapping[str, SecretStr]]) -> None:
        self._values = values

    async def get(self, tenant: str, name: str) -> str:
        try:
            return self._values[tenant][name].get_secret_value()
        except KeyError:
            raise NotFound(f"there is no secret '{name}'", name=name) from None


def secrets_of(settings: BaseModel) -> list[str]:
    """Every `SecretStr` in the settings, and the password inside of those that are addresses."""
    return sorted({part for value in _walk(settings) for part in _with_password(value) if part})


def _walk(value: Any) -> Iterator[str]:
    match value:
        case SecretStr():
            yield value.get_secret_value()
        case BaseModel():
            for name in type(value).model_fields:
                yield from _walk(getattr(value, name))
        case Mapping():
            for item in value.values():
                yield from _walk(item)
        case list() | tuple():
            for item in value:
                yield from _walk(item)


def _with_password(value: str) -> Iterator[str]:
    """An address without a password is no secret: masking it would hide the host from every log line."""
    if "://" not in value:
        yield value
        return
    try:
        password = urlsplit(value).password
    except ValueError:
        yield value
        return
    if password:
        yield from (value, password, unquote(password))
