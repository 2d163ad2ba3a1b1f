"""The executor behind the proxy. Some of its writes need a process that ends, or one that has been lost."""

from sandbox.module import Module
from tests.promises.crash_points.executors import ExecutorChain
from tests.promises.lost_answers.chain import Lossy, Struck
from tests.promises.lost_answers.writes import Write


class LossyExecutor(Lossy, ExecutorChain):
    """The gateway has its own way to the database."""

    def make_ready(self) -> None:
        self._make_room()

    def living(self, write: Write) -> Module:
        """A new process when the old one was told to end, or is to be lost in the middle of something."""
        assert self.module is not None
        if not self.module.alive:
            self.module = self.start(None)
        if write.reach == "lost":
            run = self._running(self.module)
            self.it.until(lambda: self.it.steps(run)[0]["status"] == "running")
            self.module.kill()
            self.module = self.start(None)
        return self.module

    def after(self, write: Write, struck: Struck) -> None:
        if write.reach == "terminate":
            self.it.until(lambda: not struck.module.alive, what="the end of the process")
