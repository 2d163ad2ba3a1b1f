"""What an archive may hold: paths that stay inside, each once, and links that stay inside whatever other links do."""

from pathlib import PurePosixPath

from services.executor.sources.pack import PackWriter, Read, shown
from services.executor.sources.problems import UnsafeArchive

MAX_PATH = 4_096
MAX_HOPS = 40
"""Links that the kernel follows for one path."""


class Tree:
    """Looks at entries as they come and packs the good ones. Every method raises UnsafeArchive."""

    def __init__(self, pack: PackWriter) -> None:
        self._pack = pack
        self._folders: set[str] = {""}
        self._others: set[str] = set()
        self._links: dict[str, str] = {}

    def folder(self, path: str) -> None:
        name = _inside(path)
        if name and name not in self._folders:
            self._place(name)
            self._add_folder(name)

    def link(self, path: str, target: str) -> None:
        name = self._new(path)
        if not target or "\0" in target or len(target) > MAX_PATH:
            raise UnsafeArchive(f"'{shown(path)}' is a link to nothing that can be")
        self._others.add(name)
        self._links[name] = target
        self._pack.link(name, target)

    def file(self, path: str, read: Read, size: int, *, executable: bool) -> None:
        name = self._new(path)
        self._others.add(name)
        self._pack.file(name, read, size, executable=executable)

    def close(self) -> None:
        """Once all is in: where links lead depends on the other links."""
        for name in self._links:
            if not self._stays_inside(name):
                raise UnsafeArchive(f"the link '{shown(name)}' leads out of its folder")

    def _new(self, path: str) -> str:
        name = _inside(path)
        if not name:
            raise UnsafeArchive(f"'{shown(path)}' has no name")
        if name in self._folders:
            raise UnsafeArchive(f"'{shown(name)}' is there twice")
        self._place(name)
        return name

    def _place(self, name: str) -> None:
        """Make the folders above; nothing lies below a file or link."""
        if name in self._others:
            raise UnsafeArchive(f"'{shown(name)}' is there twice, or is a folder as well")
        above = name.rpartition("/")[0]
        if above not in self._folders:
            self._place(above)
            self._add_folder(above)

    def _add_folder(self, name: str) -> None:
        self._folders.add(name)
        self._pack.folder(name)

    def _stays_inside(self, name: str) -> bool:
        """Follow it as the kernel would."""
        place: list[str] = []
        ahead = name.split("/")[::-1]
        hops = 0
        while ahead:
            part = ahead.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if not place:
                    return False
                place.pop()
                continue
            place.append(part)
            target = self._links.get("/".join(place))
            if target is None:
                continue
            hops += 1
            if target.startswith("/") or hops > MAX_HOPS:
                return False
            place.pop()
            ahead += target.split("/")[::-1]
        return True


def _inside(path: str) -> str:
    """The path in its plain form; empty for the folder itself."""
    if "\0" in path or len(path) > MAX_PATH:
        raise UnsafeArchive(f"'{shown(path)}' is no path")
    plain = PurePosixPath(path)
    if plain.is_absolute() or ".." in plain.parts:
        raise UnsafeArchive(f"'{shown(path)}' leads out of its folder")
    return "" if not plain.parts else str(plain)
