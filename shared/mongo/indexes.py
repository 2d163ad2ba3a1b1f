"""Collections and their indexes, declared beside the repository that needs them.

`apply` creates what is missing and never drops anything, so it may run at any time and any number of times; `drift`
names what differs from the declaration.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo.errors import CollectionInvalid, OperationFailure

from shared.mongo.client import Database, translated

_NAMESPACE_EXISTS = 48
_OTHERS = re.compile(r"system\..*|.*\.(files|chunks)")


@dataclass(frozen=True, slots=True)
class Index:
    """`keys` are `(field, direction)` pairs; `expire_after_seconds` makes it a TTL index (one field only)."""

    keys: Sequence[tuple[str, int | str]]
    unique: bool = False
    partial: Mapping[str, Any] | None = None
    expire_after_seconds: int | None = None
    name: str | None = None

    @property
    def label(self) -> str:
        return self.name or "_".join(f"{field}_{direction}" for field, direction in self.keys)

    def options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"name": self.label}
        if self.unique:
            options["unique"] = True
        if self.partial is not None:
            options["partialFilterExpression"] = dict(self.partial)
        if self.expire_after_seconds is not None:
            options["expireAfterSeconds"] = self.expire_after_seconds
        return options


@dataclass(frozen=True, slots=True)
class TimeSeries:
    """A time-series collection; it expires as a whole, by its own option."""

    time_field: str
    meta_field: str
    granularity: str = "seconds"
    expire_after_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """One collection of a service."""

    name: str
    indexes: Sequence[Index] = ()
    timeseries: TimeSeries | None = None
    validator: Mapping[str, Any] | None = None

    def options(self) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if self.timeseries is not None:
            options["timeseries"] = {
                "timeField": self.timeseries.time_field,
                "metaField": self.timeseries.meta_field,
                "granularity": self.timeseries.granularity,
            }
            if self.timeseries.expire_after_seconds is not None:
                options["expireAfterSeconds"] = self.timeseries.expire_after_seconds
        if self.validator is not None:
            options["validator"] = dict(self.validator)
        return options


async def apply(database: Database, specs: Sequence[CollectionSpec]) -> list[str]:
    """Create the collections and indexes that are missing; returns what was done, one line each."""
    done: list[str] = []
    async with translated():
        present = await database.list_collection_names()
        for spec in specs:
            if spec.name not in present and await _create(database, spec):
                done.append(f"created collection {spec.name}")
            done += await _apply_indexes(database, spec)
    return done


async def drift(database: Database, specs: Sequence[CollectionSpec]) -> list[str]:
    """How the database differs from the declaration, one line each; empty when it does not."""
    found: list[str] = []
    async with translated():
        present = {info["name"]: info async for info in await database.list_collections()}
        for spec in specs:
            if spec.name not in present:
                found.append(f"collection {spec.name} is missing")
            else:
                found += _option_drift(spec, present[spec.name].get("options", {}))
                found += await _index_drift(database, spec)
    return found


async def undeclared(database: Database, specs: Sequence[CollectionSpec]) -> list[str]:
    """Collections that nobody declares, one line each; what the server or an object store keeps is left out."""
    declared = {spec.name for spec in specs}
    async with translated():
        names = sorted(await database.list_collection_names())
    return [
        f"collection {name} is not declared"
        for name in names
        if name not in declared and not _OTHERS.match(name)
    ]


async def _create(database: Database, spec: CollectionSpec) -> bool:
    """False when another process was first."""
    try:
        await database.create_collection(spec.name, **spec.options())
    except CollectionInvalid:
        return False
    except OperationFailure as error:
        if error.code != _NAMESPACE_EXISTS:
            raise
        return False
    return True


async def _apply_indexes(database: Database, spec: CollectionSpec) -> list[str]:
    collection = database[spec.name]
    present = await collection.index_information()
    done = []
    for index in spec.indexes:
        if index.label not in present:
            await collection.create_index(list(index.keys), **index.options())
            done.append(f"created index {spec.name}.{index.label}")
    return done


def _option_drift(spec: CollectionSpec, actual: Mapping[str, Any]) -> list[str]:
    """Only what is declared is compared: the server adds options of its own."""
    wanted = spec.options()
    series = wanted.pop("timeseries", None)
    there = actual.get("timeseries") or {}
    found = {name for name, value in wanted.items() if actual.get(name) != value}
    if series is None and there:
        found.add("timeseries")
    elif series is not None:
        found |= {f"timeseries.{name}" for name in series if there.get(name) != series[name]}
        if "expireAfterSeconds" in actual and "expireAfterSeconds" not in wanted:
            found.add("expireAfterSeconds")
    return [
        f"collection {spec.name} differs from its declaration: {name}" for name in sorted(found)
    ]


async def _index_drift(database: Database, spec: CollectionSpec) -> list[str]:
    present = await database[spec.name].index_information()
    found = [
        f"index {spec.name}.{name} is not declared"
        for name in present
        if name != "_id_" and name not in {index.label for index in spec.indexes}
    ]
    for index in spec.indexes:
        actual = present.get(index.label)
        if actual is None:
            found.append(f"index {spec.name}.{index.label} is missing")
        elif _differs(index, actual):
            found.append(f"index {spec.name}.{index.label} differs from its declaration")
    return found


def _differs(index: Index, actual: Mapping[str, Any]) -> bool:
    # The server gives directions back as numbers of any type.
    keys = [(field, int(way) if isinstance(way, float) else way) for field, way in actual["key"]]
    wanted = index.options()
    return keys != list(index.keys) or any(
        actual.get(option) != wanted.get(option)
        for option in ("unique", "partialFilterExpression", "expireAfterSeconds")
    )
