"""What a server says of itself, asked directly: so that a missing replica set or a wrong password is seen as such."""

import time
from dataclasses import dataclass

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

from shared.errors import ConfigurationError, StorageUnavailable
from shared.mongo.client import Document, is_refusal
from shared.settings import MongoSettings

TIMEOUT_MS = 3_000


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one server. `skew_seconds`: how far its clock is before ours. `primary`: its set has one."""

    address: str
    version: str
    replica_set: str | None
    primary: bool
    skew_seconds: float


async def ask(settings: MongoSettings) -> Answer:
    """Ask the first server of the URI that answers. Raises StorageUnavailable and ConfigurationError."""
    try:
        parsed = parse_uri(settings.uri.get_secret_value(), validate=True)
    except (PyMongoError, ValueError) as error:
        raise ConfigurationError(f"MONGO__URI is wrong: {error}") from None
    silent = []
    for host, port in parsed["nodelist"]:
        address = f"{host}:{port}"
        try:
            return await _ask(address, settings, parsed)
        except OperationFailure as error:
            if is_refusal(error):
                raise ConfigurationError(
                    f"{address} refuses the user name or password; mend MONGO__USERNAME and MONGO__PASSWORD"
                ) from None
            raise StorageUnavailable(f"{address}: {error.details}") from error
        except PyMongoError:
            silent.append(address)
    raise StorageUnavailable(f"nobody answers at {', '.join(silent)}")


async def _ask(address: str, settings: MongoSettings, parsed: Document) -> Answer:
    password = settings.password.get_secret_value() if settings.password else None
    options = {
        "username": settings.username or parsed["username"],
        "password": password or parsed["password"],
        "authSource": parsed["options"].get("authsource", settings.auth_source),
    }
    if options["username"] is None:
        options = {}
    if settings.tls or parsed["options"].get("tls"):
        options |= {"tls": True, "tlsCAFile": settings.tls_ca_file}
    client: AsyncMongoClient[Document] = AsyncMongoClient(
        f"mongodb://{address}/",
        directConnection=True,
        serverSelectionTimeoutMS=TIMEOUT_MS,
        connectTimeoutMS=TIMEOUT_MS,
        socketTimeoutMS=TIMEOUT_MS,
        **{name: value for name, value in options.items() if value is not None},
    )
    async with client:
        await client[settings.database].command("listCollections", nameOnly=True)
        before = time.time()
        hello = await client.admin.command("hello")
        middle = (before + time.time()) / 2
        version = (await client.server_info())["version"]
    primary = bool(hello.get("isWritablePrimary") or hello.get("primary"))
    skew = hello["localTime"].timestamp() - middle
    return Answer(address, version, hello.get("setName"), primary, skew)
