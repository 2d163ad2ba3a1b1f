"""The sandbox as a whole: starts the parts side by side, then the services, watches them, and ends them all.

Promises: no service starts before topics and indexes stand; a failed start ends what was started; `stop` takes at most
five seconds and leaves no process; were this process killed, the kernel ends the parts (see `launch.py`).
"""

import asyncio
import shutil
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

from pydantic import SecretStr

from sandbox import migration
from sandbox.addresses import SERVICES, VIRTUOSO_TOKEN, Addresses, environment
from sandbox.aws import Aws
from sandbox.board import Board
from sandbox.encryption import encryption_keys
from sandbox.errors import DiskFull, SandboxError
from sandbox.estate import furnish
from sandbox.kafka import Kafka
from sandbox.module import Module
from sandbox.mongo import Mongo
from sandbox.part import Part, Say
from sandbox.ports import ensure_free
from sandbox.settings import SandboxSettings
from shared.errors import CadenzaError
from shared.settings import KafkaSettings, MongoSettings

ALMOST_NOTHING = 2**20
Task = Callable[[Say], str]
"""Does one thing, tells what it is doing, and says how it ended."""


class Sandbox:
    """All parts and services of one folder."""

    def __init__(self, settings: SandboxSettings, *, services: Sequence[str] = SERVICES) -> None:
        self.settings = settings
        self._owners = services
        self.addresses = Addresses.of(settings)
        self.logs = settings.data / "logs"
        self._kafka = None if settings.kafka else self._embedded_kafka()
        self._mongo = None if settings.mongo else self._embedded_mongo()
        self._others = self._embedded_others()
        self._environments = {
            name: environment(settings, name, work=(settings.data / "work").absolute())
            for name in services
        }
        self._services = [self._service(name) for name in services]
        self._stopping = threading.Event()

    @property
    def parts(self) -> Sequence[Part]:
        """Everything that is started here."""
        stores: list[Part | None] = [self._kafka, self._mongo]
        return [*filter(None, stores), *self._others, *self._services]

    def start(self, board: Board) -> None:
        """Start everything. Raises SandboxError, after stopping what was started."""
        self._make_room()
        self._give_key()
        for part in self.parts:
            ensure_free(part.port, part=part.name, setting=part.port_setting)
        tasks: dict[str, Task] = {
            "Kafka": self._start_kafka,
            "MongoDB": self._start_mongo,
            **{part.name: self._starting(part) for part in self._others},
        }
        for name in [*tasks, *(service.name for service in self._services)]:
            board.add(name)
        try:
            self._run(tasks, board)
        except BaseException as error:
            self.stop()
            if isinstance(error, SandboxError):
                self.ensure_room()
            raise

    def ensure_room(self) -> None:
        """DiskFull when the disk has filled up meanwhile: it explains most other troubles."""
        if shutil.disk_usage(self.settings.data).free < ALMOST_NOTHING:
            raise DiskFull(
                f"The disk of {self.settings.data.absolute()} is full: make room, "
                "or set SANDBOX__DATA to another folder."
            )

    def ended(self) -> Part | None:
        """A part that has ended by itself, if there is one."""
        if self._stopping.is_set():
            return None
        return next((part for part in self.parts if not part.alive), None)

    def stop(self) -> None:
        """End services first, then the stores; all within five seconds."""
        self._stopping.set()
        for part in self.parts:
            part.stopping.set()
        _together([part.stop for part in [*self._services, *self._others]])
        _together([part.stop for part in (self._kafka, self._mongo) if part])

    def _run(self, tasks: dict[str, Task], board: Board) -> None:
        stores = {name: _begin(board, name, task) for name, task in tasks.items()}
        _await([stores["Kafka"], stores["MongoDB"]], among=[*stores.values()])
        services = [
            _begin(board, service.name, self._starting(service)) for service in self._services
        ]
        _await([*stores.values(), *services], among=[*stores.values(), *services])

    def _make_room(self) -> None:
        """The folder, and enough space in it."""
        data = self.settings.data
        try:
            data.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(data).free // 2**20
        except OSError as error:
            raise SandboxError(f"The folder {data} cannot be used: {error.strerror}.") from None
        if free < self.settings.min_free_mb:
            raise DiskFull(
                f"The disk of {data.absolute()} has {free} MB left and the sandbox needs "
                f"{self.settings.min_free_mb} MB: make room, or set SANDBOX__DATA to another folder."
            )

    def _give_key(self) -> None:
        """Where the user has set none, the sandbox's own."""
        keys = encryption_keys(self.settings.data)
        for variables in self._environments.values():
            variables.setdefault("SECURITY__ENCRYPTION_KEYS", keys)

    def _start_kafka(self, say: Say) -> str:
        if self._kafka:
            self._kafka.start(say)
        say("applying topics")
        settings = KafkaSettings(bootstrap_servers=self.addresses.kafka)
        asyncio.run(migration.apply_topics(settings))
        return f"ready on {self.addresses.kafka}"

    def _start_mongo(self, say: Say) -> str:
        if self._mongo:
            self._mongo.start(say)
        say("applying indexes")
        settings = MongoSettings(uri=SecretStr(self.addresses.mongo), min_pool_size=0)
        asyncio.run(migration.apply_collections(settings, owners=self._owners))
        return "ready" if self.settings.mongo else f"ready on {self.addresses.mongo}"

    def _starting(self, part: Module) -> Task:
        def start(say: Say) -> str:
            part.start(say)
            if isinstance(part, Aws):
                say("making a small estate")
                furnish(part.endpoint_url)
            return f"ready on {part.url}"

        return start

    def _embedded_kafka(self) -> Kafka:
        return Kafka(
            self.settings.data / "kafka",
            cache=self.settings.cache,
            port=self.settings.kafka_port,
            log=self.logs / "kafka.log",
        )

    def _embedded_mongo(self) -> Mongo:
        return Mongo(
            self.settings.data / "mongo",
            port=self.settings.mongo_port,
            log=self.logs / "mongod.log",
        )

    def _embedded_others(self) -> list[Module]:
        settings = self.settings
        others: list[Module] = []
        if not settings.aws:
            others.append(Aws(log=self.logs / "aws.log", port=settings.aws_port))
        if not settings.virtuoso:
            port = str(settings.virtuoso_port)
            others.append(
                Module(
                    "Virtuoso simulator",
                    ["sandbox.virtuoso", "--port", port, "--token", VIRTUOSO_TOKEN],
                    port=settings.virtuoso_port,
                    ready="/_simulator/requests",
                    log=self.logs / "virtuoso.log",
                    setting="SANDBOX__VIRTUOSO_PORT",
                    grace=0.5,
                )
            )
        return others

    def _service(self, name: str) -> Module:
        return Module(
            name,
            [f"services.{name}"],
            port=self.settings.service_port(name),
            ready="/health/ready",
            log=self.logs / f"{name}.log",
            setting=f"SANDBOX__{name.upper()}_PORT",
            env=self._environments[name],
            timeout=self.settings.start_seconds,
            # The executor ends its steps before itself; everything else may go at once.
            orphan_signal=signal.SIGTERM if name == "executor" else signal.SIGKILL,
        )


def _begin(board: Board, name: str, task: Task) -> Future[None]:
    """Do it in a thread of its own, which does not hold up the end of the process."""
    future: Future[None] = Future()

    def work() -> None:
        try:
            board.done(name, task(board.teller(name)))
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            board.failed(name)
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=work, name=f"sandbox-{name}", daemon=True).start()
    return future


def _await(wanted: Sequence[Future[None]], *, among: Sequence[Future[None]]) -> None:
    """Return when all of `wanted` are done; raise as soon as one `among` all has failed."""
    while not all(future.done() for future in wanted):
        wait([future for future in among if not future.done()], 0.2, FIRST_COMPLETED)
        for future in among:
            _raise_failure(future)
    for future in wanted:
        _raise_failure(future)


def _raise_failure(future: Future[None]) -> None:
    if not future.done():
        return
    try:
        future.result()
    except SandboxError:
        raise
    except CadenzaError as error:
        raise SandboxError(error.message) from error
    except Exception as error:
        what = next(iter(str(error).splitlines()), "")[:200]
        raise SandboxError(
            f"A part did not start: {type(error).__name__} {what}".strip()
        ) from error


def _together(calls: Sequence[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
