"""Where everything lies in the lake.

    {customer}/{yyyy}/{mm}/{dd}/execution-{id}.json            the envelope of the newest version
    {customer}/{yyyy}/{mm}/{dd}/execution-{id}.raw/{call}.json the answers it was made from, untouched
    {customer}/{yyyy}/{mm}/{dd}/metadata.json                  counts, hashes and timings of the day
    {customer}/versions/{id}/{sha}/…                           the same two, immutable, for every version
    {customer}/index/rows/{id}.json                            the row of the newest version: the truth
    {customer}/index/deltas/{id}-{revision}.json               rows on their way into the index
    {customer}/index/generations/…                             Parquet files that the manifest names or named
    {customer}/index/manifest.json                             which of them is in force
    {customer}/index/executions.parquet                        a copy of that one, for readers of the seed's layout
    _schemas/execution-v1.json                                 the JSON Schema of envelopes

The day is the execution's start in UTC, so a second extraction meets the same object.
"""

import re
from dataclasses import dataclass
from datetime import date

SLUG = r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$"
_SLUG = re.compile(SLUG)


@dataclass(frozen=True, slots=True)
class CustomerKeys:
    """Keys of one customer. `root` is the lake's place in the object store, without a slash at its end."""

    root: str
    slug: str

    def __post_init__(self) -> None:
        if not _SLUG.match(self.slug):
            raise ValueError(f"'{self.slug}' cannot stand in a key")

    @property
    def prefix(self) -> str:
        return f"{self.root}/{self.slug}" if self.root else self.slug

    def day(self, day: date) -> str:
        return f"{self.prefix}/{day:%Y/%m/%d}"

    def envelope(self, day: date, execution_id: int) -> str:
        return f"{self.day(day)}/execution-{execution_id}.json"

    def raw(self, day: date, execution_id: int, call: str) -> str:
        return f"{self.day(day)}/execution-{execution_id}.raw/{call}.json"

    def metadata(self, day: date) -> str:
        return f"{self.day(day)}/metadata.json"

    def version_envelope(self, execution_id: int, version: str) -> str:
        return f"{self._version(execution_id, version)}/execution-{execution_id}.json"

    def version_raw(self, execution_id: int, version: str, call: str) -> str:
        return f"{self._version(execution_id, version)}/execution-{execution_id}.raw/{call}.json"

    def _version(self, execution_id: int, version: str) -> str:
        return f"{self.prefix}/versions/{execution_id}/{version}"

    def row(self, execution_id: int) -> str:
        return f"{self.prefix}/index/rows/{execution_id}.json"

    @property
    def deltas(self) -> str:
        return f"{self.prefix}/index/deltas/"

    def delta(self, execution_id: int, revision: int) -> str:
        return f"{self.deltas}{execution_id}-{revision:06d}.json"

    def generation(self, number: int, sha256: str) -> str:
        return f"{self.prefix}/index/generations/{number:08d}-{sha256[:16]}.parquet"

    @property
    def manifest(self) -> str:
        return f"{self.prefix}/index/manifest.json"

    @property
    def parquet(self) -> str:
        return f"{self.prefix}/index/executions.parquet"

    @property
    def schema(self) -> str:
        return f"{self.root}/{SCHEMA_NAME}" if self.root else SCHEMA_NAME


SCHEMA_NAME = "_schemas/execution-v1.json"
