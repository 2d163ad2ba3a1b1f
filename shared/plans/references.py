"""References in a plan: `${{ steps.a.outputs.url }}`, `${{ inputs.branch }}`, `${{ input.row }}`, `${{ secrets.key }}`,
`${{ vars.base_url }}`.

A string that is one reference and nothing else takes the value's type; inside a longer string a value is written as
text (strings as they are, everything else as JSON). `$${{` stands for a literal `${{`. What a reference brought in is
never looked at for further references.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from shared.errors import PermanentError
from shared.plans.mistakes import shown

Root = Literal["steps", "inputs", "input", "secrets", "vars", "row"]

_TOKEN = re.compile(r"\$\$\{\{|\$\{\{(.*?)\}\}|\$\{\{", re.DOTALL)
_STEP = re.compile(r"steps\.([A-Za-z0-9_][A-Za-z0-9_.\-]*?)\.outputs((?:\.[A-Za-z0-9_\-]+)*)")
_VALUE = re.compile(r"(inputs|input|secrets|vars|row)\.([A-Za-z0-9_\-]+)((?:\.[A-Za-z0-9_\-]+)*)")

MAX_LENGTH = 1_024
"""Of one reference. Beyond it, telling a good one from a bad one could take very long."""
SYNTAX = (
    "write ${{ steps.NAME.outputs.KEY }}, ${{ inputs.KEY }}, ${{ input.KEY }}, ${{ row.KEY }}, ${{ vars.NAME }} or"
    " ${{ secrets.NAME }} ($${{ for a literal ${{)"
)


class MissingReference(PermanentError):
    """A reference names a value that does not exist."""

    code = "missing_reference"


class BadReference(PermanentError):
    """A reference cannot be read."""

    code = "bad_reference"


@dataclass(frozen=True, slots=True)
class Reference:
    """`name` is the step, the input's key or the name of the secret or variable; `path` leads into its value."""

    root: Root
    name: str
    path: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Values:
    """What references may name while a step runs. `steps` maps a step's name to its outputs."""

    steps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    input: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    vars: Mapping[str, str] = field(default_factory=dict)
    row: Mapping[str, Any] = field(default_factory=dict)


def parse(text: str) -> Reference:
    """The reference between the braces. Raises BadReference."""
    inner = text.strip()
    if len(inner) > MAX_LENGTH:
        raise BadReference(f"a reference may have {MAX_LENGTH} characters: '{shown(inner)}'")
    if found := _STEP.fullmatch(inner):
        return Reference("steps", found[1], tuple(found[2].split(".")[1:]), inner)
    found = _VALUE.fullmatch(inner)
    if found is None or (found[1] in ("secrets", "vars") and found[3]):
        raise BadReference(f"cannot read the reference '${{{{ {shown(inner)} }}}}': {SYNTAX}")
    root: Root = found[1]  # type: ignore[assignment]
    return Reference(root, found[2], tuple(found[3].split(".")[1:]), inner)


def references_in(value: Any) -> Iterator[Reference]:
    """Every reference in the strings of a JSON value. Raises BadReference at the first that cannot be read."""
    for text in strings_in(value):
        yield from references_of(text)


def references_of(text: str) -> Iterator[Reference]:
    """The references of one string."""
    if "${{" not in text:
        return
    for token in _TOKEN.finditer(text):
        if token[0] == "$${{":
            continue
        if token[1] is None:
            raise BadReference(f"a '${{{{' has no '}}}}': {SYNTAX}")
        yield parse(token[1])


def strings_in(value: Any) -> Iterator[str]:
    """All strings of a JSON value, keys left out."""
    match value:
        case str():
            yield value
        case dict():
            for item in value.values():
                yield from strings_in(item)
        case list():
            for item in value:
                yield from strings_in(item)


def secrets_in(value: Any) -> set[str]:
    """Names of the secrets that `value` refers to."""
    return {reference.name for reference in references_in(value) if reference.root == "secrets"}


def is_whole(text: str) -> bool:
    """True when `text` is one reference and nothing else: its type is known only at run time."""
    found = _TOKEN.match(text.strip())
    return bool(found and found[1] is not None and found.end() == len(text.strip()))


def resolve(value: Any, values: Values) -> Any:
    """`value` with every reference replaced. Raises MissingReference or BadReference."""
    match value:
        case str():
            return _resolve_text(value, values)
        case dict():
            return {key: resolve(item, values) for key, item in value.items()}
        case list():
            return [resolve(item, values) for item in value]
    return value


def as_text(value: Any) -> str:
    """A value inside a longer text or an environment variable: strings as they are, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def look_up(reference: Reference, values: Values) -> Any:
    """The value that a reference names. Raises MissingReference."""
    if reference.root == "steps":
        if reference.name not in values.steps:
            raise _missing(reference, f"step '{reference.name}' has no outputs")
        return _descend(values.steps[reference.name], reference.path, reference)
    source: Mapping[str, Any] = getattr(values, reference.root)
    return _descend(source, (reference.name, *reference.path), reference)


def _resolve_text(text: str, values: Values) -> Any:
    if "${{" not in text:
        return text
    if is_whole(text):
        found = _TOKEN.match(text.strip())
        return look_up(parse(found[1]), values) if found else text
    return _TOKEN.sub(_writer(values), text)


def _writer(values: Values) -> Callable[[re.Match[str]], str]:
    def write(token: re.Match[str]) -> str:
        if token[0] == "$${{":
            return "${{"
        if token[1] is None:
            raise BadReference(f"a '${{{{' has no '}}}}': {SYNTAX}")
        return as_text(look_up(parse(token[1]), values))

    return write


def _descend(value: Any, path: tuple[str, ...], reference: Reference) -> Any:
    for key in path:
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            raise _missing(reference, f"there is no '{key}'")
    return value


def _missing(reference: Reference, why: str) -> MissingReference:
    return MissingReference(
        f"the reference '${{{{ {reference.text} }}}}' has no value: {why}", reference=reference.text
    )
