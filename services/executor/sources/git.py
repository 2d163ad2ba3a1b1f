"""Git repositories, by the `git` program: what a ref means now, and the files of a commit.

It asks nobody anything (no prompt, no askpass, no hooks, no configuration of the machine or user), speaks only the
protocols that the settings allow, and gets credentials through its environment and a private file, never through its
arguments. Attributes of the repository do not change what is taken out of it (`export-ignore` would leave tests out).
"""

import asyncio
import base64
import re
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from services.executor.commands.base import CommandContext
from services.executor.commands.outcome import Outcome
from services.executor.processes.model import MIB, Limits
from services.executor.sources.options import GitOptions
from services.executor.sources.problems import SourceFailed, SourceMissing, SourceTooLarge
from services.executor.sources.reaching import settings_to_reach
from shared.security.redaction import Redactor

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_MISSING = re.compile(
    r"not found|does not exist|couldn't find remote ref|not a valid object name|does not appear to be a git"
    r"|not our ref|no such remote ref|unadvertised object",
    re.IGNORECASE,
)
_SIZE_SIGNAL = re.compile(r"signal 25|File size limit|File too large")
_NETWORK = ("ls-remote", "fetch")
KEPT_OUTPUT = 64 * 1024


class Runner(Protocol):
    """Runs a process within a context."""

    async def run(
        self, argv: Sequence[str], ctx: CommandContext, *, env: Mapping[str, str] | None = None
    ) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class Remote:
    """A repository and who we are there. `username` goes with `token`."""

    url: str
    token: str | None = None
    username: str = "x-access-token"
    ssh_key: str | None = None


@dataclass(frozen=True, slots=True)
class Attended:
    """Under what circumstances git runs: for a run that may be cancelled and has a deadline."""

    folder: Path
    """Private, and removed afterwards by whoever made it."""
    run: str
    deadline: float
    cancel: asyncio.Event
    redactor: Redactor
    inherited: Mapping[str, str]
    """Of the executor's own environment: PATH and such."""


class Git:
    """One remote repository, for one run."""

    def __init__(
        self, remote: Remote, options: GitOptions, attended: Attended, *, processes: Runner
    ) -> None:
        self._remote = remote
        self._options = options
        self._attended = attended
        self._processes = processes

    async def commit_of(self, ref: str) -> str:
        """What a branch, tag or commit id means now. Raises SourceMissing, SourceFailed."""
        if _COMMIT.fullmatch(ref):
            return ref
        wanted = [ref, f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}", f"refs/heads/{ref}"]
        told = await self._git("ls-remote", "--", self._remote.url, *wanted)
        found = {
            name: commit
            for commit, _, name in (line.partition("\t") for line in told.splitlines())
            if _COMMIT.fullmatch(commit)
        }
        for name in wanted:
            if name in found:
                return found[name]
        raise SourceMissing(
            f"{self._remote.url} has no branch or tag '{ref}' (write commit ids in full)"
        )

    async def archive(self, commit: str, ref: str, *, path: str | None) -> Path:
        """A tar of the commit's files. Raises SourceMissing, SourceTooLarge, SourceFailed."""
        repository = self._attended.folder / "repository"
        tar = self._attended.folder / "files.tar"
        form = "sha256" if len(commit) > 40 else "sha1"
        await self._git(
            "init", "--quiet", "--bare", "--template=", f"--object-format={form}", str(repository)
        )
        info = repository / "info"
        info.mkdir(exist_ok=True)
        (info / "attributes").write_text("* -export-ignore -export-subst -filter -ident\n")
        await self._fetch(repository, commit, ref)
        tree = f"{commit}:{path.strip('/')}" if path and path.strip("./") else commit
        try:
            await self._git(
                "archive", "--format=tar", f"--output={tar}", tree, repository=repository, times=1
            )
        except SourceMissing:
            raise SourceMissing(f"commit {commit} has no folder '{path}'") from None
        return tar

    async def _fetch(self, repository: Path, commit: str, ref: str) -> None:
        """Only this commit where the server gives single commits; else all branches and tags."""
        shallow = ("fetch", "--quiet", "--no-tags", "--depth=1", "--", self._remote.url, commit)
        try:
            await self._git(*shallow, repository=repository)
        except SourceMissing:
            everything = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
            await self._git(
                "fetch", "--quiet", "--", self._remote.url, *everything, repository=repository
            )
            try:
                await self._git("cat-file", "-e", f"{commit}^{{commit}}", repository=repository)
            except (SourceFailed, SourceMissing):
                raise SourceMissing(f"{self._remote.url} has no commit {commit} ({ref})") from None

    async def _git(
        self, *arguments: str, repository: Path | None = None, times: int | None = None
    ) -> str:
        """What it says on standard output. The network may fail for a moment: then once more."""
        where = [f"--git-dir={repository}"] if repository else []
        attempts = times or self._options.attempts
        for number in range(1, attempts + 1):
            try:
                return await self._once(["git", *where, *arguments], arguments[0])
            except SourceFailed:
                pause = self._options.pause_seconds * 2 ** (number - 1)
                if number == attempts or not await self._may_wait(pause):
                    raise
        raise SourceFailed("git was not even tried")

    async def _may_wait(self, seconds: float) -> bool:
        """False when the run is being ended, or its time is over before that."""
        if time.monotonic() + seconds >= self._attended.deadline:
            return False
        try:
            async with asyncio.timeout(seconds):
                await self._attended.cancel.wait()
        except TimeoutError:
            return True
        return False

    async def _once(self, argv: Sequence[str], what: str) -> str:
        said: dict[str, list[str]] = {"stdout": [], "stderr": []}

        async def emit(stream: str, text: str) -> None:
            said[stream].append(text)

        attended, options = self._attended, self._options
        reach = (
            await settings_to_reach(self._remote.url, options.policy, options.variables)
            if what in _NETWORK
            else []
        )
        context = CommandContext(
            working_dir=attended.folder,
            env=self._environment(reach),
            emit=emit,
            processes=self._processes,
            deadline=attended.deadline,
            cancel=attended.cancel,
            run=attended.run,
            redactor=attended.redactor,
            limits=Limits(
                output_bytes=KEPT_OUTPUT, file_size_mb=self._options.max_bytes // MIB + 1
            ),
        )
        outcome = await self._processes.run(argv, context)
        if outcome.status == "completed":
            return "".join(said["stdout"])
        raise self._problem(outcome, "".join(said["stderr"]), what)

    def _problem(
        self, outcome: Outcome, complaint: str, what: str
    ) -> SourceFailed | SourceMissing | SourceTooLarge:
        told = " ".join(complaint.split())[-500:]
        if outcome.reason == "program_missing":
            return SourceFailed("there is no program 'git' on this executor: install it")
        if outcome.status == "timed_out":
            return SourceFailed(f"git {what} of {self._remote.url} took too long")
        if outcome.status == "cancelled":
            return SourceFailed("the run was ended while its sources were fetched")
        if outcome.signal == 25 or _SIZE_SIGNAL.search(complaint):
            return SourceTooLarge(
                f"{self._remote.url} is larger than {self._options.max_bytes} bytes"
            )
        if "transport" in complaint and "not allowed" in complaint:
            allowed = ", ".join(self._options.protocols)
            return SourceFailed(
                f"{self._remote.url}: this protocol is not allowed here (allowed: {allowed})"
            )
        kind = SourceMissing if _MISSING.search(complaint) else SourceFailed
        return kind(f"git {what} of {self._remote.url}: {told or outcome.error}")

    def _environment(self, reach: Sequence[tuple[str, str]]) -> dict[str, str]:
        home = str(self._attended.folder)
        env = {
            **self._attended.inherited,
            **self._options.variables,
            "HOME": home,
            "XDG_CONFIG_HOME": home,
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "true",
            "SSH_ASKPASS": "true",
            "GIT_ALLOW_PROTOCOL": ":".join(self._options.protocols),
            "GIT_SSH_COMMAND": self._ssh(),
        }
        settings = [
            ("core.hooksPath", "/dev/null"),
            ("credential.helper", ""),
            ("protocol.version", "2"),
            ("gc.auto", "0"),
            ("fetch.recurseSubmodules", "no"),
            ("core.fsmonitor", "false"),
            *reach,
        ]
        if self._remote.token is not None:
            login = f"{self._remote.username}:{self._remote.token}".encode()
            header = f"Authorization: Basic {base64.b64encode(login).decode()}"
            settings.append((f"http.{self._remote.url}.extraHeader", header))
            settings.append(("http.followRedirects", "false"))  # the header would go along
        env["GIT_CONFIG_COUNT"] = str(len(settings))
        for number, (name, value) in enumerate(settings):
            env |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
        return env

    def _ssh(self) -> str:
        options = ["ssh", "-F", "/dev/null", "-o", "BatchMode=yes"]
        if self._options.known_hosts is not None:
            options += ["-o", f"UserKnownHostsFile={self._options.known_hosts}"]
        options += ["-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes"]
        if self._remote.ssh_key is not None:
            options += ["-i", str(self._key_file(self._remote.ssh_key))]
        return shlex.join(options)

    def _key_file(self, key: str) -> Path:
        path = self._attended.folder / "ssh-key"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(key if key.endswith("\n") else f"{key}\n")
        return path
