"""`cadenza doctor`: what this machine has, what is missing, and what would help. Changes nothing."""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from cli.client import Client
from cli.exits import FAILED, PASSED, CliError
from cli.options import AsJson
from cli.output import console, print_json
from cli.settings import CliSettings
from sandbox.errors import SandboxError
from sandbox.settings import SandboxSettings
from shared.settings import load


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `level`: ok, note or problem."""

    what: str
    level: str
    text: str


def doctor(as_json: AsJson = False) -> int:
    """Look at this machine and at the platform; leave with 1 when something would keep the sandbox from starting."""
    settings = load(SandboxSettings)
    found = [
        _python(),
        _tried("MongoDB", _mongod),
        _tried("Java", _java),
        _jars(settings),
        _disk(settings),
        _isolation(),
        answers := _platform_answers(),
    ]
    if answers.level != "ok":  # else it is the platform itself that has the ports
        found += _ports(settings)
    if as_json:
        print_json({"findings": [asdict(finding) for finding in found]})
    else:
        marks = {"ok": "[green]✓[/]", "note": "[yellow]·[/]", "problem": "[red]✗[/]"}
        for finding in found:
            console.print(f"{marks[finding.level]} {finding.what}: {finding.text}", soft_wrap=True)
    return FAILED if any(finding.level == "problem" for finding in found) else PASSED


def _python() -> Finding:
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding("Python", "ok" if sys.version_info >= (3, 11) else "problem", text)


def _mongod() -> str:
    from sandbox.mongo import mongod

    return mongod()


def _java() -> str:
    from sandbox.java import java

    return java()


def _tried(what: str, find: Callable[[], str]) -> Finding:
    try:
        return Finding(what, "ok", find())
    except SandboxError as error:
        return Finding(what, "problem", error.message)


def _jars(settings: SandboxSettings) -> Finding:
    from sandbox.jars import VERSION, cached

    if cached(settings.cache):
        return Finding("Kafka", "ok", f"{VERSION} in {settings.cache}")
    return Finding("Kafka", "note", f"{VERSION} will be fetched at the first start (43 MB)")


def _disk(settings: SandboxSettings) -> Finding:
    folder = next(p for p in (settings.data, Path.cwd()) if p.exists())
    free = shutil.disk_usage(folder).free // 2**20
    level = "ok" if free >= settings.min_free_mb else "problem"
    return Finding("disk", level, f"{free} MB free, {settings.min_free_mb} MB needed")


def _ports(settings: SandboxSettings) -> Iterator[Finding]:
    from sandbox.errors import PortTaken
    from sandbox.ports import ensure_free

    for name, value in settings:
        if not name.endswith("_port"):
            continue
        part = name.removesuffix("_port")
        try:
            ensure_free(value, part=part, setting=f"SANDBOX__{name.upper()}")
        except PortTaken as error:
            yield Finding("port", "note", error.message)


def _isolation() -> Finding:
    """Whether the executor may run steps under another user."""
    if os.geteuid() == 0 and shutil.which("setpriv"):
        return Finding("isolation", "ok", "steps can run under a user of their own (setpriv)")
    return Finding(
        "isolation",
        "note",
        "steps run under the executor's own user: commands of different tenants are not isolated "
        "from each other; dedicate executors by the label tenant: where that matters",
    )


def _platform_answers() -> Finding:
    settings = CliSettings()
    url = settings.service("gateway")
    try:
        with Client(url, settings.key(), timeout=3) as client:
            client.get("/health/ready")
    except CliError as error:
        return Finding("platform", "note", str(error))
    return Finding("platform", "ok", f"{url} is ready")
