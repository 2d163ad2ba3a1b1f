"""The one client of this process, built from settings.

Writes are acknowledged by a majority and the journal; times come back aware, in UTC. A database that does not answer
never holds up the start: `check` tells. A wrong password ends the start with one sentence.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC
from typing import Any

import structlog
from bson.codec_options import CodecOptions
from bson.errors import InvalidDocument
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    AutoReconnect,
    ConnectionFailure,
    OperationFailure,
    PyMongoError,
    WTimeoutError,
)
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

from shared.errors import ConfigurationError, InvalidRequest, StorageUnavailable
from shared.settings import MongoSettings

Document = dict[str, Any]
Database = AsyncDatabase[Document]

UTC_DOCUMENTS: CodecOptions[Document] = CodecOptions(tz_aware=True, tzinfo=UTC)
"""How every document is read: dicts, with times in UTC."""
MAJORITY = WriteConcern(w="majority", j=True)
MAJORITY_READ = ReadConcern("majority")

_log = structlog.get_logger(__name__)

_AUTHENTICATION_CODES = frozenset({13, 18, 8000})
_PASSING_CODES = frozenset(
    {6, 7, 50, 64, 89, 91, 112, 134, 189, 202, 262, 9001, 10058, 10107, 11600, 11602, 13388, 13435}
    | {13436, 100}
)
"""Server errors that say "not now": elections, shutdowns, time-outs, write conflicts."""


def is_passing(error: PyMongoError) -> bool:
    """True when the same operation may succeed later; whether it was applied is then unknown."""
    if isinstance(error, ConnectionFailure | AutoReconnect | WTimeoutError) or error.timeout:
        return True
    return isinstance(error, OperationFailure) and is_passing_code(error.code)


def is_refusal(error: PyMongoError) -> bool:
    """True when the server does not accept who we are."""
    return isinstance(error, OperationFailure) and error.code in _AUTHENTICATION_CODES


def is_passing_code(code: object) -> bool:
    return code in _PASSING_CODES


def primary_of(database: Database) -> object:
    """The election that the present primary came from, as the driver knows it; None when it knows of none.

    The same before and after two writes: the second one's majority has the first one too.
    """
    servers = database.client.topology_description.server_descriptions().values()
    return next((server.election_id for server in servers if server.is_writable), None)


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """The driver's errors in our words; what is no passing trouble and no wrong setting goes through unchanged."""
    try:
        yield
    except InvalidDocument as error:
        raise InvalidRequest(f"the document cannot be stored: {error}") from error
    except PyMongoError as error:
        if is_refusal(error):
            raise ConfigurationError(_REFUSED) from error
        if is_passing(error):
            raise StorageUnavailable(f"MongoDB did not answer: {type(error).__name__}") from error
        if isinstance(error, OperationFailure) and "hint" in str(error):
            raise ConfigurationError("an index is missing; run `cadenza migrate`") from error
        raise


_REFUSED = (
    "MongoDB refuses the user name or password; mend MONGO__PASSWORD "
    "(or MONGO__USERNAME, MONGO__AUTH_SOURCE)"
)


class Mongo:
    """Connection pool and database. Nothing is connected before `start`."""

    name = "mongo"

    def __init__(self, settings: MongoSettings) -> None:
        self._settings = settings
        try:
            self.client: AsyncMongoClient[Document] = AsyncMongoClient(
                settings.uri.get_secret_value(), **_options(settings)
            )
        except (PyMongoError, ValueError, OSError) as error:
            raise ConfigurationError(
                f"MONGO__URI or another MONGO__ value is wrong: {error}"
            ) from None
        self.database: Database = self.client.get_database(
            settings.database,
            codec_options=UTC_DOCUMENTS,
            read_preference=ReadPreference.PRIMARY,
            write_concern=MAJORITY,
        )

    async def start(self) -> None:
        """Look for the database once. Raises ConfigurationError when it is there and refuses us."""
        try:
            await self._ping()
        except StorageUnavailable as error:
            _log.warning("mongo.unreachable", detail=error.message)

    async def check(self) -> bool:
        """True when the primary answers now."""
        try:
            await self._ping()
        except (StorageUnavailable, ConfigurationError):
            return False
        return True

    async def stop(self) -> None:
        await self.client.close()

    async def _ping(self) -> None:
        # `ping` needs no privilege and so would not notice a missing one; listing one's own collections does.
        async with translated():
            await self.database.command(
                "listCollections", nameOnly=True, authorizedCollections=True
            )


def _options(settings: MongoSettings) -> dict[str, Any]:
    options: dict[str, Any] = {
        "appname": "cadenza",
        "maxPoolSize": settings.max_pool_size,
        "minPoolSize": min(settings.min_pool_size, settings.max_pool_size),
        "maxIdleTimeMS": settings.max_idle_time_ms,
        "serverSelectionTimeoutMS": settings.server_selection_timeout_ms,
        "connectTimeoutMS": settings.server_selection_timeout_ms,
        # Not `timeoutMS`: with it the driver looks for a server that long, whatever its selection time-out.
        "socketTimeoutMS": settings.timeout_ms,
        "retryWrites": True,
        "w": "majority",
        "journal": True,
        "tz_aware": True,
    }
    if settings.username is not None:
        password = settings.password
        if password is None:
            raise ConfigurationError("MONGO__USERNAME is set but MONGO__PASSWORD is not")
        options |= {
            "username": settings.username,
            "password": password.get_secret_value(),
            "authSource": settings.auth_source,
        }
    if settings.tls:
        options["tls"] = True
        if settings.tls_ca_file is not None:
            options["tlsCAFile"] = settings.tls_ca_file
    return options
