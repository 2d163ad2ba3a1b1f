"""Where the files of a run come from: `sources:` of a plan.

Shapes only; rules that a shape cannot say are in `source_rules.py`. What a source brings is put into the run's working
directory before the first step, read-only unless it says `writable`.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_SOURCES = 20
MAX_INLINE_FILES = 1_000

Text = Annotated[str, Field(min_length=1, max_length=2_048)]
Folder = Annotated[str, Field(min_length=1, max_length=1_024)]


class SourcePart(BaseModel):
    """An unknown field is an error: it is a typing mistake more often than not."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, defer_build=True
    )

    mount: Folder = "."
    """Folder inside the working directory; `.` is the working directory itself."""
    writable: bool = False
    """True: steps may change these files. It is a copy in any case, and nothing reaches a later run."""


class GitSource(SourcePart):
    """A commit of a git repository, without its history, submodules and large-file storage."""

    type: Literal["git"]
    url: Text
    """`https://…`, `ssh://…` or `user@host:path`. Never with a password in it."""
    ref: Annotated[str, Field(min_length=1, max_length=255)] = "HEAD"
    """Branch, tag or whole commit id. What it means is looked up when the run starts, and recorded with the run."""
    path: Folder | None = None
    """Only this folder of the repository."""
    token: Text | None = None
    """For https: a reference to a secret, such as `${{ secrets.GIT_TOKEN }}`."""
    username: Annotated[str, Field(min_length=1, max_length=255)] = "x-access-token"
    """Goes with the token. GitHub and GitLab take any, Bitbucket wants `x-token-auth`."""
    ssh_key: Text | None = None
    """For ssh: a reference to a secret that holds a private key without passphrase."""


class UploadSource(SourcePart):
    """An archive (tar, tar.gz, tar.bz2, tar.xz or zip) that was uploaded with `cadenza upload`."""

    type: Literal["upload"]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of its bytes: what `cadenza upload` prints."""


class InlineSource(SourcePart):
    """Files in the plan itself."""

    type: Literal["inline"]
    files: dict[Folder, str] = Field(min_length=1, max_length=MAX_INLINE_FILES)
    """Path → content, taken as it is: references are not looked for."""


Source = Annotated[GitSource | UploadSource | InlineSource, Field(discriminator="type")]
Sources = Annotated[list[Source], Field(max_length=MAX_SOURCES)]
