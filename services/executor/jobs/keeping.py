"""Keeps what a job elsewhere answered as it came, as an artifact of the step."""

import os
from collections.abc import Callable

import structlog

from services.executor.commands.base import CommandContext

log = structlog.get_logger()


def keep_raw(ctx: CommandContext, name: str, content: bytes) -> None:
    """Put it among the step's artifacts, without the secrets that the step knows; a file of that name stays as it is.

    The folder belongs to whoever the run's processes run as. Another step of the run may put links into it: none is
    followed.
    """
    if ctx.artifacts_dir is None:
        return
    try:
        folder = os.open(ctx.artifacts_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            _write(folder, name, ctx.redactor.redact_bytes(content), ctx.uid)
        finally:
            os.close(folder)
    except OSError as error:
        log.warning("artifact.not_written", name=name, error=error.strerror)


def _write(folder: int, name: str, content: bytes, uid: int | None) -> None:
    opener: Callable[[str, int], int] = lambda path, flags: os.open(  # noqa: E731
        path, flags | os.O_NOFOLLOW, 0o600, dir_fd=folder
    )
    with open(name, "xb", opener=opener) as file:
        file.write(content)
        if uid is not None:
            os.fchown(file.fileno(), uid, uid)
