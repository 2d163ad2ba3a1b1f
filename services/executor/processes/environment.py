"""The environment of a step's process: an allow-list, never the service's own.

From outside come only PATH, the language and the time zone; then the plan's and the step's variables; then ours, which
nobody can override.
"""

from collections.abc import Mapping
from pathlib import Path

INHERITED = ("PATH", "LANG", "LC_ALL", "TZ")
DEFAULTS = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}
OWNER = "CADENZA_OWNER"
"""Whose process this is: `<host>/<boot id>/<pid>/<start time>` of the guardian."""
EXECUTION_ID = "CADENZA_EXECUTION_ID"
OUTPUT = "CADENZA_OUTPUT"
ARTIFACTS = "CADENZA_ARTIFACTS"


def build_environment(
    inherited: Mapping[str, str],
    *,
    working_dir: Path,
    declared: Mapping[str, str] | None = None,
    platform: Mapping[str, str] | None = None,
    output_file: Path | None = None,
    artifacts_dir: Path | None = None,
    owner: str | None = None,
) -> dict[str, str]:
    """The complete environment. `declared` is the plan's and the step's; `platform` the `CADENZA_*` of the run."""
    env = DEFAULTS | {name: inherited[name] for name in INHERITED if name in inherited}
    env |= {"HOME": str(working_dir), "TMPDIR": inherited.get("TMPDIR", "/tmp")}  # noqa: S108
    env |= declared or {}
    env |= platform or {}
    ours = {OUTPUT: output_file, ARTIFACTS: artifacts_dir, OWNER: owner}
    return env | {name: str(value) for name, value in ours.items() if value is not None}
