"""An explicit list of plug-ins: a duplicate or unknown name is an error that names what there is."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from shared.errors import ConfigurationError, NotFound

T = TypeVar("T")


class Registry(Generic[T]):
    """Plug-ins by name, in the order in which they were listed."""

    def __init__(self, kind: str, items: Iterable[tuple[str, T]]) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}
        for name, item in items:
            if name in self._items:
                raise ConfigurationError(f"{kind} '{name}' is listed twice")
            self._items[name] = item

    def get(self, name: str) -> T:
        """Raises NotFound with the nearest right name."""
        try:
            return self._items[name]
        except KeyError:
            near = difflib.get_close_matches(name, self._items, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(self._items)}"
            raise NotFound(f"unknown {self.kind} '{name}'{hint}", name=name) from None

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[T]:
        return iter(self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def names(self) -> list[str]:
        return list(self._items)
