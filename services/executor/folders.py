"""The folders of one run on disk.

    <run>/work                            the working directory that the commands share
    <run>/artifacts-<try>                 `$CADENZA_ARTIFACTS` of a try
    <run>/outputs/<try>.jsonl             `$CADENZA_OUTPUT` of a try
    <run>/sources                         ours: what is being fetched before the first step
    <run>/<try>.log, <run>/<try>.taken    ours: a long log; artifacts of another user, before they are read

Where steps run as another user, that one may enter the run's folder but change nothing in it.

Making a folder is one of the dearest things that a short step does. So nothing is made for a command that uses no
files, and an artifacts folder in which a try left nothing serves the next try.
"""

import os
from dataclasses import dataclass
from pathlib import Path

OUTPUTS = "outputs"


@dataclass(frozen=True, slots=True)
class TryFolder:
    """Where one try of a step leaves what is not in the working directory."""

    artifacts: Path
    root: Path
    name: str

    @property
    def outputs(self) -> Path:
        return self.root / OUTPUTS / f"{self.name}.jsonl"

    @property
    def log(self) -> Path:
        return self.root / f"{self.name}.log"

    @property
    def taken(self) -> Path:
        """Where files of another user are taken to before they are read."""
        return self.root / f"{self.name}.taken"


class RunFolder:
    """What was made below `root`, which belongs to the run alone."""

    def __init__(self, root: Path, *, uid: int | None = None) -> None:
        """`uid`: the user that the run's processes run as; None: the executor's own."""
        self.root = root
        self.uid = uid
        self.working_dir = root / "work"
        self.made = False
        """Something is on disk."""
        self._artifacts: list[Path] = []
        self._spare: list[Path] = []

    def of_try(self, step_id: int, attempt: str) -> TryFolder:
        """The folder of a try; nothing is made yet."""
        name = f"{step_id}-{attempt}"
        artifacts = self._spare.pop() if self._spare else self.root / f"artifacts-{name}"
        return TryFolder(artifacts, self.root, name)

    def is_made(self, folder: TryFolder) -> bool:
        return self.made and folder.artifacts in self._artifacts

    def make(self, folder: TryFolder) -> None:
        """Make what a command may use. Raises OSError."""
        if not self.made:
            self._make_root()
            self._make(self.working_dir)
            self._make(self.root / OUTPUTS)
        if folder.artifacts not in self._artifacts:
            self._make(folder.artifacts)
            self._artifacts.append(folder.artifacts)

    def begin_filling(self) -> None:
        """Make a working directory that nobody else may enter yet, so that it can be filled. Raises OSError."""
        self._make_root()
        self.working_dir.mkdir(mode=0o700)

    def end_filling(self) -> None:
        """Give it to the commands. Raises OSError."""
        self.working_dir.chmod(0o755)
        self.give(self.working_dir)
        self._make(self.root / OUTPUTS)

    def give(self, path: Path) -> None:
        """Make it the commands' own."""
        if self.uid is not None:
            os.chown(path, self.uid, self.uid, follow_symlinks=False)

    def _make_root(self) -> None:
        self.made = True
        self.root.mkdir(parents=True)
        if self.uid is not None:
            os.chown(self.root, -1, self.uid)
            self.root.chmod(0o710)

    def _make(self, folder: Path) -> None:
        folder.mkdir()
        self.give(folder)

    def holds_artifacts(self, folder: TryFolder) -> bool:
        """False when there is surely nothing in the artifacts folder, which then may serve the next try."""
        if folder.artifacts in self._artifacts and not is_empty(folder.artifacts):
            return True
        self._spare.append(folder.artifacts)
        return False

    def remove_empty(self) -> bool:
        """Remove what was made, if there is nothing in it; False when there is."""
        try:
            for path in (*self._artifacts, self.root / OUTPUTS, self.working_dir, self.root):
                path.rmdir()
        except OSError:
            return False
        return True


def is_empty(folder: Path) -> bool:
    """A link in its place, which a command may have put there, is not followed."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        with os.scandir(descriptor) as entries:
            return next(entries, None) is None
    finally:
        os.close(descriptor)
