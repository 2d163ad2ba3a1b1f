"""Keeps what a job elsewhere answered as it came, as an artifact of the step."""

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

from services.executor.commands.base import CommandContext


async def keep_answer(ctx: CommandContext, name: str, answer: Any) -> None:
    """Put it among the step's artifacts, without the secrets that the step knows; a file of that name stays as it is.

    The folder belongs to whoever the run's processes run as. Another step of the run may put links into it: none is
    followed. What cannot be written is said in the log and does not change how the step ends.
    """
    if ctx.artifacts_dir is None:
        return
    try:
        await asyncio.to_thread(_keep, ctx, name, answer)
    except FileExistsError:
        return
    except OSError as error:
        await ctx.emit("stderr", f"{name} was not kept: {error.strerror}\n")


def _keep(ctx: CommandContext, name: str, answer: Any) -> None:
    content = json.dumps(answer, ensure_ascii=False).encode(errors="backslashreplace")
    folder = os.open(ctx.artifacts_dir or "", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _write(folder, name, ctx.redactor.redact_bytes(content), ctx.uid)
    finally:
        os.close(folder)


def _write(folder: int, name: str, content: bytes, uid: int | None) -> None:
    opener: Callable[[str, int], int] = lambda path, flags: os.open(  # noqa: E731
        path, flags | os.O_NOFOLLOW, 0o600, dir_fd=folder
    )
    with open(name, "xb", opener=opener) as file:
        file.write(content)
        if uid is not None:
            os.fchown(file.fileno(), uid, uid)
