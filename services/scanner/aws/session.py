"""Into an account and through its scopes. boto3 blocks, so every call runs in one bounded pool of threads, which is
the limit on all nested parallelism together.

Credentials come from one chain for everything: the SDK's own (or the keys of the settings), a profile, then a role.
Before anything is looked at, AWS says whose credentials they are, so that no account's resources are ever stored under
another's name.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import boto3
from botocore.config import Config

from services.scanner.aws.base import ServiceScanner
from services.scanner.aws.failures import translated
from services.scanner.errors import WrongAccount
from services.scanner.models import GLOBAL, Account, Found, Place, Problem, Raw, Resource, Scope
from shared.errors import CadenzaError
from shared.registry import Registry
from shared.settings import AwsSettings

CONNECT_TIMEOUT = 5
SDK_ATTEMPTS = 3  # the SDK's own, per call, with jitter; a whole scope is tried again above
ROLE_SESSION_NAME = "cadenza-scanner"
T = TypeVar("T")


class AwsCloud:
    """Implements `ports.Cloud`; a resource."""

    name = "aws"

    def __init__(
        self,
        settings: AwsSettings,
        *,
        scanners: Registry[ServiceScanner],
        max_calls: int,
        call_timeout: float,
    ) -> None:
        self._settings = settings
        self._scanners = scanners
        self._pool = ThreadPoolExecutor(max_calls, thread_name_prefix="aws")
        self._config = Config(
            retries={"mode": "standard", "total_max_attempts": SDK_ATTEMPTS},
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=call_timeout,
            user_agent_extra=ROLE_SESSION_NAME,
        )

    async def start(self) -> None:
        """Nothing is called before the first scan."""

    async def stop(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def services(self) -> Mapping[str, bool]:
        return {scanner.service: scanner.is_global for scanner in self._scanners}

    async def enter(self, account: Account) -> "AwsEstate":
        return await self.in_thread(lambda: self._enter(account))

    async def in_thread(self, call: Callable[[], T]) -> T:
        """Run a blocking call in the pool; botocore's errors come out as ours."""

        def guarded() -> T:
            with translated():
                return call()

        return await asyncio.get_running_loop().run_in_executor(self._pool, guarded)

    def _enter(self, account: Account) -> "AwsEstate":
        session = self._session(account)
        identity = self._client(session, "sts").get_caller_identity()
        if identity["Account"] != account.id:
            raise WrongAccount(
                f"the credentials of '{account.name}' belong to account {identity['Account']}, not {account.id}"
            )
        place = Place(account, self._settings.region, partition=identity["Arn"].split(":")[1])
        return AwsEstate(
            self,
            scanners=self._scanners,
            place=place,
            client=lambda service, region: self._client(session, service, region),
        )

    def _session(self, account: Account) -> boto3.Session:
        secret = self._settings.secret_access_key
        keys = self._settings.access_key_id is not None and account.profile is None
        session = boto3.Session(
            profile_name=account.profile,
            aws_access_key_id=self._settings.access_key_id if keys else None,
            aws_secret_access_key=secret.get_secret_value() if keys and secret else None,
            region_name=self._settings.region,
        )
        if account.role_arn is None:
            return session
        taken = self._client(session, "sts").assume_role(
            RoleArn=account.role_arn, RoleSessionName=ROLE_SESSION_NAME
        )["Credentials"]
        return boto3.Session(
            aws_access_key_id=taken["AccessKeyId"],
            aws_secret_access_key=taken["SecretAccessKey"],
            aws_session_token=taken["SessionToken"],
            region_name=self._settings.region,
        )

    def _client(self, session: boto3.Session, service: str, region: str | None = None) -> Any:
        # the names of services are data here, so there is no overload of `client` to choose
        make: Any = session.client
        return make(
            service,
            region_name=region or self._settings.region,
            endpoint_url=self._settings.endpoint_url,
            config=self._config,
        )


class AwsEstate:
    """Implements `ports.Estate`."""

    def __init__(
        self,
        cloud: AwsCloud,
        *,
        scanners: Registry[ServiceScanner],
        place: Place,
        client: Callable[[str, str], Any],
    ) -> None:
        self._cloud = cloud
        self._scanners = scanners
        self._place = place
        self._make_client = client
        self._making = threading.Lock()  # a boto3 session makes one client at a time

    async def regions(self) -> Sequence[str]:
        def ask() -> list[str]:
            answer = self._client("ec2", self._place.region).describe_regions()
            return sorted(region["RegionName"] for region in answer["Regions"])

        return await self._cloud.in_thread(ask)

    async def look(self, scope: Scope) -> Found:
        scanner = self._scanners.get(scope.service)
        region = self._place.region if scope.region == GLOBAL else scope.region
        place = Place(self._place.account, region, self._place.partition)
        stop = threading.Event()
        try:
            return await self._cloud.in_thread(
                lambda: look(scanner, self._client(scope.service, region), place, stop=stop)
            )
        except asyncio.CancelledError:
            stop.set()  # a thread cannot be ended, but it can be told not to ask for another page
            raise

    def _client(self, service: str, region: str) -> Any:
        with self._making:
            return self._make_client(service, region)


class Stopped(CadenzaError):
    """Nobody waits for the result any more."""

    code = "stopped"


def look(
    scanner: ServiceScanner, client: Any, place: Place, *, stop: threading.Event | None = None
) -> Found:
    """All pages of one scope. A thing that cannot be read is a problem and makes the look incomplete."""
    resources: list[Resource] = []
    problems: list[Problem] = []
    whole = True
    for page in scanner.fetch(client):
        if stop is not None and stop.is_set():
            raise Stopped
        for raw in page:
            try:
                resources.append(scanner.transform(raw, place))
                problems.extend(scanner.problems(raw))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                problems.append(_unreadable(raw, error))
                whole = False
    return Found(resources, problems, whole)


def _unreadable(raw: Raw, error: Exception) -> Problem:
    known = sorted(map(str, raw)) if isinstance(raw, Mapping) else type(raw).__name__
    return Problem(
        "unreadable", f"an item with {known} cannot be read: {type(error).__name__} {error}"
    )
