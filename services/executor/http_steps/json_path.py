"""JSONPath (RFC 9535) over what somebody else's server answered, with a bounded effort.

Some paths take time that grows with every part of them, and a path is evaluated beside everybody else's runs. So one
path may descend (`..`) once, may not combine that with lists of selectors, and filters look at what is below them only
and know no regular expressions.
"""

import re
from functools import lru_cache
from itertools import islice
from typing import Any

from jsonpath import JSONPath, JSONPathEnvironment, JSONPathError

MAX_FOUND = 10_000
MAX_SELECTORS = 8
_QUOTED = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")


class BadPath(ValueError):
    """The path cannot be used; the message says why."""


class _Environment(JSONPathEnvironment):
    def setup_function_extensions(self) -> None:
        super().setup_function_extensions()
        for name in ("match", "search"):
            self.function_extensions.pop(name, None)


_ENVIRONMENT = _Environment(strict=True)


@lru_cache(maxsize=512)
def compiled(text: str) -> JSONPath:
    """The path. Raises BadPath."""
    bare = _QUOTED.sub("''", text)
    descends, filters, lists = bare.count(".."), bare.count("?"), bare.count(",")
    if descends > 1 or lists > MAX_SELECTORS or filters > MAX_SELECTORS or (descends and lists):
        raise BadPath(
            f"'{text}' would take too long: use '..' once, and without lists of selectors"
        )
    if filters and "$" in bare[1:]:
        raise BadPath(f"'{text}': a filter may look only at what is below it (`@`)")
    try:
        path = _ENVIRONMENT.compile(text)
    except (JSONPathError, RecursionError, ValueError) as error:
        raise BadPath(f"'{text}' is no JSONPath: {_words(error)}") from None
    if not isinstance(path, JSONPath):
        raise BadPath(f"'{text}' is more than one JSONPath")
    return path


def find(text: str, value: Any) -> tuple[bool, Any]:
    """Whether there is something, and what: the value itself where the path can find only one, else a list of all."""
    path = compiled(text)
    try:
        found = [match.obj for match in islice(path.finditer(value), MAX_FOUND)]
    except (JSONPathError, RecursionError) as error:
        raise BadPath(f"'{text}' cannot be evaluated: {_words(error)}") from None
    if path.singular_query():
        return bool(found), found[0] if found else None
    return bool(found), found


def _words(error: Exception) -> str:
    """Its own text fails where the mistake is at the end of the path."""
    return str(error.args[0]).partition("\n")[0] if error.args else type(error).__name__
