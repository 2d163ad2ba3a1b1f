"""What is written for things that are kept by name: cases of `test_lost_answers.py`."""

from typing import Any

from services.gateway.repository import apps
from services.gateway.repository.apps import MongoConfigurations
from shared.mongo.indexes import apply
from shared.plans.apps import AppReference
from tests.integration.mongo.lost_answers import NOW, Case, Facts, updates

_APPS = "services/gateway/repository/apps.py:MongoConfigurations"


def _version(version: str) -> dict[str, Any]:
    return {
        "_id": f"v{version}",
        "tenant": "demo",
        "app_id": 1,
        "app_name": "greeting",
        "sub_app_id": None,
        "sub_app_name": None,
        "version": version,
        "configuration": {},
        "content_hash": "0",
        "active": False,
        "activated_at": None,
        "activations": [],
        "created_at": NOW,
        "created_by": "ann",
    }


async def app_numbered(database: Any, direct: Any) -> Case:
    await apply(direct, apps.COLLECTIONS)
    names = MongoConfigurations(database)

    async def number() -> None:
        assert await names.number("demo", "greeting", None) == 1

    async def facts() -> Facts:
        return [one["number"] for one in await direct[apps.NAMES].find().to_list()]

    return Case(updates(apps.NAMES), number, facts, [1])


async def version_stored(database: Any, direct: Any) -> Case:
    await apply(direct, apps.COLLECTIONS)
    versions = MongoConfigurations(database)

    async def add() -> None:
        assert await versions.add(_version("1")) in (None, "0")

    async def facts() -> Facts:
        return await direct.app_configurations.count_documents({})

    return Case(updates("app_configurations"), add, facts, 1)


async def version_activated(database: Any, direct: Any) -> Case:
    await apply(direct, apps.COLLECTIONS)
    for version in ("1", "2"):
        await MongoConfigurations(direct).add(_version(version))
    first = await MongoConfigurations(direct).find("demo", _named("1"))
    assert first is not None
    await MongoConfigurations(direct).activate(first, by="ann")
    versions = MongoConfigurations(database)

    async def activate() -> None:
        app = await versions.find("demo", _named("2"))
        assert app is not None
        await versions.activate(app, by="ann")

    async def facts() -> Facts:
        active = await direct.app_configurations.find({"active": True}).to_list()
        return [one["version"] for one in active]

    return Case(updates("app_configurations"), activate, facts, ["2"])


def _named(version: str) -> AppReference:
    return AppReference(name="greeting", version=version)


RECORDS = {
    app_numbered: (f"{_APPS}.number",),
    version_stored: (f"{_APPS}.add",),
    version_activated: (f"{_APPS}.activate",),
}
