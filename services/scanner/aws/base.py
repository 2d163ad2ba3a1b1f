"""What a scanner of one AWS service is.

`fetch` asks AWS, page by page, and does nothing else; it runs in a thread. `transform` is pure: one raw thing and its
place in, a `Resource` out, so that it can be tested with recorded answers. To add a service, write one file and list
it in `registry.py`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from services.scanner.models import Place, Problem, Raw, Resource
from services.scanner.ports import SupportedService

Page = Sequence[Raw]


class ServiceScanner(SupportedService, Protocol):
    """One AWS service."""

    def fetch(self, client: Any) -> Iterator[Page]:
        """Every page. A page that cannot be had is an error, never left out."""
        ...

    def transform(self, raw: Raw, place: Place) -> Resource:
        """Raises KeyError, TypeError or ValueError for a thing that is not what AWS documents."""
        ...

    def problems(self, raw: Raw) -> Iterable[Problem]:
        """Details of this thing that could not be had; the thing itself is there."""
        ...


def tags_of(listed: Iterable[Raw] | None) -> dict[str, str]:
    """AWS's `[{"Key", "Value"}]` as a map, in order of key."""
    return dict(sorted((tag["Key"], tag.get("Value", "")) for tag in listed or ()))
