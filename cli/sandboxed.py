"""The sandbox inside a command: started with a progress display, ended on the way out, whatever happens."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console

from cli.exits import CliError
from sandbox.board import Board
from sandbox.settings import SandboxSettings
from sandbox.supervisor import Sandbox


@contextmanager
def running_sandbox(settings: SandboxSettings, console: Console) -> Iterator[Sandbox]:
    """A sandbox that stops with the block. SIGTERM and SIGHUP end the block like Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    sandbox = Sandbox(settings)
    console.print(f"Starting the sandbox in [bold]{settings.data.absolute()}[/]")
    with Board(console) as board:
        sandbox.start(board)
    try:
        yield sandbox
    finally:
        # A second Ctrl-C must not leave half of it behind.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        console.print("stopping")
        sandbox.stop()


def stay(sandbox: Sandbox, console: Console) -> None:
    """Until Ctrl-C. A part that ends by itself is started again; the log says why it ended."""
    try:
        while True:
            time.sleep(0.5)
            part = sandbox.ended()
            if part is not None:
                console.print(f"[yellow]{part.why()} Starting it again.[/]", soft_wrap=True)
                part.start()
    except KeyboardInterrupt:
        return


def must_be_whole(sandbox: Sandbox) -> None:
    """CliError when a part has ended by itself."""
    part = sandbox.ended()
    if part is not None:
        raise CliError(part.why())


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
