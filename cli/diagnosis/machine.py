"""This machine: the embedded parts of the sandbox where they are needed, room, ports, limits, isolation."""

import os
import platform
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from cli.diagnosis import browsers
from cli.diagnosis.finding import Finding, note, ok, problem, trouble
from sandbox.errors import SandboxError
from sandbox.settings import SandboxSettings
from services.executor.settings import ExecutorSettings
from shared.errors import ConfigurationError
from shared.security.encryption import cipher_of
from shared.settings import ServiceSettings, load

FEW_FILES, ENOUGH_FILES = 1_024, 4_096
ENOUGH_PROCESSES = 1_024
PTRACE_SCOPE = Path("/proc/sys/kernel/yama/ptrace_scope")


def findings(settings: SandboxSettings) -> Iterator[Finding]:
    """Everything that needs no connection."""
    yield _python()
    if settings.mongo is None:
        yield _tried("mongod", _mongod)
    if settings.kafka is None:
        yield _tried("Java", _java)
        yield _jars(settings)
    yield _disk(settings)
    yield open_files(*resource.getrlimit(resource.RLIMIT_NOFILE))
    yield processes(resource.getrlimit(resource.RLIMIT_NPROC)[0], root=os.geteuid() == 0)
    yield _isolation()
    yield from browsers.findings()
    yield git()
    yield _encryption(settings)


def ports(settings: SandboxSettings) -> Iterator[Finding]:
    """Those that the sandbox would need and others have."""
    from sandbox.errors import PortTaken
    from sandbox.ports import ensure_free

    for name, value in settings:
        if not name.endswith("_port"):
            continue
        part = name.removesuffix("_port")
        try:
            ensure_free(value, part=part, setting=f"SANDBOX__{name.upper()}")
        except PortTaken as error:
            yield note("port", error.message)


def open_files(soft: int, hard: int) -> Finding:
    """Every step needs half a dozen, every live view and connection one."""
    what = "open files"
    if soft == resource.RLIM_INFINITY or soft >= ENOUGH_FILES:
        return ok(what, f"at most {_limit(soft)}")
    raised = "" if hard == resource.RLIM_INFINITY or hard >= ENOUGH_FILES else " as root"
    fix = f"raise the limit{raised} (ulimit -n {ENOUGH_FILES}, LimitNOFILE= of systemd, ulimits of Compose)"
    text = f"at most {soft} for each process; {ENOUGH_FILES} suit 100 steps at once and 1,000 live views"
    return trouble(what, text, fix, required=soft < FEW_FILES)


def processes(soft: int, *, root: bool) -> Finding:
    """RLIMIT_NPROC counts all processes of the user and does not bind root."""
    what = "processes"
    if root:
        return ok(what, "root is not limited (RLIMIT_NPROC)")
    if soft == resource.RLIM_INFINITY or soft >= ENOUGH_PROCESSES:
        return ok(what, f"at most {_limit(soft)} of this user")
    return trouble(
        what,
        f"at most {soft} of this user, all programs together; steps fail to start above it",
        f"raise the limit (ulimit -u {ENOUGH_PROCESSES}, TasksMax= of systemd, pids limit of the container), "
        "or lower EXECUTOR__PROCESS_LIMIT",
        required=soft < ENOUGH_PROCESSES // 4,
    )


def _limit(value: int) -> str:
    return "any number" if value == resource.RLIM_INFINITY else f"{value:,}"


def _python() -> Finding:
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return ok("Python", text)  # an older one does not come so far


def _mongod() -> str:
    from sandbox.mongo import mongod

    return mongod()


def _java() -> str:
    from sandbox.java import java

    return java()


def _tried(what: str, find: Callable[[], str]) -> Finding:
    try:
        return ok(what, find())
    except SandboxError as error:
        return problem(what, "the sandbox cannot start it", error.message)


def _jars(settings: SandboxSettings) -> Finding:
    from sandbox.jars import VERSION, cached

    if cached(settings.cache):
        return ok("Kafka jars", f"{VERSION} in {settings.cache}")
    return note("Kafka jars", f"{VERSION} will be fetched at the first start (43 MB)")


def _disk(settings: SandboxSettings) -> Finding:
    folder = next(p for p in (settings.data, Path.cwd()) if p.exists())
    free = shutil.disk_usage(folder).free // 2**20
    text = f"{free} MB free below {folder.absolute()}, {settings.min_free_mb} MB needed"
    if free >= settings.min_free_mb:
        return ok("disk", text)
    return problem("disk", text, "Make room, or set SANDBOX__DATA to a folder on another disk.")


def _isolation() -> Finding:
    try:
        group = load(ExecutorSettings).executor
    except ConfigurationError as error:
        return problem("isolation", error.message, "Mend the EXECUTOR__ settings.")
    return isolation(len(group.step_uids), root=os.geteuid() == 0, runs=group.run_slots)


def git() -> Finding:
    """The program that fetches `sources` of plans."""
    found = shutil.which("git")
    if found:
        return ok("git", found)
    fix = "Install git where executors run (and ssh, for repositories that want it)."
    return note("git", "there is none: plans whose sources are git repositories will fail", fix)


def _encryption(settings: SandboxSettings) -> Finding:
    try:
        cipher = cipher_of(load(ServiceSettings).security)
    except ConfigurationError as error:
        return problem("encryption", error.message, "Mend SECURITY__ENCRYPTION_KEYS.")
    return encryption(given=cipher is not None, sandbox=settings.mongo is None)


def encryption(*, given: bool, sandbox: bool) -> Finding:
    """Whether secrets and encrypted fields can be stored."""
    what = "encryption"
    if given:
        return ok(what, "SECURITY__ENCRYPTION_KEYS is set; gateway and executors need the same")
    if sandbox:
        return ok(what, "the sandbox keeps a key of its own beside its data")
    return note(
        what,
        "SECURITY__ENCRYPTION_KEYS is not set: secrets cannot be stored, and steps with encrypted fields fail",
        """Set it for gateway and executors alike: {"2026": "<output of: openssl rand -base64 32>"}.""",
    )


def isolation(users: int, *, root: bool, runs: int) -> Finding:
    """Whether the executor runs steps as other users (`EXECUTOR__STEP_UIDS`), enough for all `runs` at a time, and
    whether steps may look into it.
    """
    what = "isolation"
    if 0 < users < runs and root:
        return note(
            what,
            f"steps run as {users} other users, and up to {runs} runs at once: those that share one, perhaps of "
            "different tenants, can read each other's files",
            f"Set EXECUTOR__STEP_UIDS to {runs} numbers, or EXECUTOR__RUN_SLOTS to {users}.",
        )
    if users and root:
        return ok(what, f"steps run as other users ({users}), without privileges")
    if users:
        fix = "Let the executor start as root, or leave the setting out."
        return problem(
            what, "EXECUTOR__STEP_UIDS is set, and only root may become other users", fix
        )
    scope = PTRACE_SCOPE.read_text().strip() if PTRACE_SCOPE.exists() else "0"
    traced = "may" if scope == "0" else "may not"
    return note(
        what,
        "steps run under the executor's own user: commands of different tenants are not isolated from each other, "
        f"and {traced} trace each other (ptrace_scope {scope}); the executor itself is hidden from them",
        "Set EXECUTOR__STEP_UIDS for an executor that starts as root, or dedicate executors by the label tenant:.",
    )
