"""Rules of `sources:` that a shape cannot say: safe paths, addresses without passwords, credentials by reference."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from shared.errors import FieldError
from shared.plans.json_values import printable
from shared.plans.mistakes import first
from shared.plans.plan import Plan
from shared.plans.references import BadReference, is_whole, parse, references_of
from shared.plans.sources import GitSource, InlineSource, UploadSource

_URL = re.compile(r"(?P<scheme>https?|ssh|file)://(?P<rest>[^\s\\]+)")
_SCP = re.compile(r"[A-Za-z0-9_.\-]+@[A-Za-z0-9.\-]+:[^\s:\\][^\s\\]*")
_REF = re.compile(r"[\w./@+#=%,\-]+")
_OPEN = ("url", "ref", "path")
"""Fields that may refer to inputs and variables."""
_CREDENTIALS = ("token", "ssh_key")
_Source = GitSource | UploadSource | InlineSource


def check_sources(plan: Plan, prefix: str) -> list[FieldError]:
    """Everything that is wrong with the sources of a plan."""
    return first(_wrong(plan, prefix)) if plan.sources else []


def source_texts(plan: Plan) -> list[str]:
    """The strings of sources in which references are looked for."""
    texts = [
        getattr(source, field)
        for source in plan.sources
        if isinstance(source, GitSource)
        for field in (*_OPEN, *_CREDENTIALS)
    ]
    return [text for text in texts if text]


def path_problem(path: str) -> str | None:
    """Why this is no path inside a folder; None when it is."""
    if "\0" in path:
        return "contains NUL"
    if path.startswith(("/", "~")):
        return "must be relative"
    if ".." in PurePosixPath(path).parts:
        return "must not lead out of its folder"
    if any(len(part.encode(errors="surrogateescape")) > 255 for part in path.split("/")):
        return "has a part of more than 255 bytes"
    return None


def url_problem(url: str) -> tuple[str, str] | None:
    """The broken rule and a sentence, for an address in which nothing is left to be resolved."""
    if _SCP.fullmatch(url):
        return None
    found = _URL.fullmatch(url)
    if found is None:
        return "url", "must be https://…, ssh://… or user@host:path"
    user, at, _ = found["rest"].partition("/")[0].rpartition("@")
    if at and (":" in user or found["scheme"].startswith("http")):
        return "credentials", "must hold no user or password: give a token by reference"
    return None


def ref_problem(ref: str) -> str | None:
    """Why this cannot be a branch, tag or commit."""
    if not _REF.fullmatch(ref) or ref.startswith("-") or ".." in ref or ref.endswith(".lock"):
        return "is no name of a branch, tag or commit"
    return None


def _wrong(plan: Plan, prefix: str) -> Iterator[FieldError]:
    mounts: dict[PurePosixPath, int] = {}
    for place, source in enumerate(plan.sources):
        base = f"{prefix}sources[{place}]"
        if problem := path_problem(source.mount):
            yield FieldError(f"{base}.mount", "path", f"a mount {problem}")
        yield from _clashing(mounts, source, place, base)
        match source:
            case GitSource():
                yield from _wrong_git(source, base)
            case InlineSource():
                yield from _wrong_files(source, base)


def _clashing(
    mounts: dict[PurePosixPath, int], source: _Source, place: int, base: str
) -> Iterator[FieldError]:
    """Two sources in one folder would have to be merged, and nobody could say which file is whose. Beside one in the
    working directory itself others may stand; whether a name is taken is seen when it is unpacked.
    """
    mount = PurePosixPath(source.mount)
    for other, number in mounts.items():
        if mount == other or (mount.parts and other.parts and _nested(mount, other)):
            nested = "is" if mount == other else "lies in or around"
            message = f"'{source.mount}' {nested} the mount of sources[{number}]: give each its own"
            yield FieldError(f"{base}.mount", "mount", message)
            return
    mounts[mount] = place


def _nested(one: PurePosixPath, other: PurePosixPath) -> bool:
    return one in other.parents or other in one.parents


def _wrong_git(source: GitSource, base: str) -> Iterator[FieldError]:
    for field in _OPEN:
        text = getattr(source, field)
        if text and "${{" in text:
            yield from _wrong_references(f"{base}.{field}", text)
    if "${{" not in source.url and (problem := url_problem(source.url)):
        yield FieldError(f"{base}.url", *problem)
    if "${{" not in source.ref and (why := ref_problem(source.ref)):
        yield FieldError(f"{base}.ref", "ref", why)
    if source.path and "${{" not in source.path and (why := path_problem(source.path)):
        yield FieldError(f"{base}.path", "path", f"a path {why}")
    for field in _CREDENTIALS:
        if (text := getattr(source, field)) and not _is_secret(text):
            message = "must be one reference to a secret: ${{ secrets.NAME }}"
            yield FieldError(f"{base}.{field}", "plain_text", message)


def _wrong_references(field: str, text: str) -> Iterator[FieldError]:
    try:
        for reference in references_of(text):
            if reference.root not in {"inputs", "vars"}:
                message = "a source may refer to inputs and vars here: steps have not run yet"
                yield FieldError(field, "reference_order", message)
    except BadReference as error:
        yield FieldError(field, "bad_reference", error.message)


def _is_secret(text: str) -> bool:
    try:
        return is_whole(text) and parse(text.strip()[3:-2]).root == "secrets"
    except BadReference:
        return False


def _wrong_files(source: InlineSource, base: str) -> Iterator[FieldError]:
    folders: set[PurePosixPath] = set()
    files: set[PurePosixPath] = set()
    for name in source.files:
        path = PurePosixPath(name)
        problem = path_problem(name) or ("is a folder" if name.endswith("/") else None)
        if path in files or path in folders or folders_of(path) & files or not path.parts:
            problem = problem or "is the path of another file too, or of its folder"
        if problem:
            yield FieldError(f"{base}.files.{printable(name)}", "path", f"a path {problem}")
        files.add(path)
        folders |= folders_of(path)


def folders_of(path: PurePosixPath) -> set[PurePosixPath]:
    """The folders that a path needs."""
    return set(path.parents) - {PurePosixPath(".")}
