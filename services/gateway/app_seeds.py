"""The two apps of the schema document, which come with the platform: `POST /v1/apps/seed` stores them."""

import json
from collections.abc import Iterator
from importlib import resources

from shared.plans.apps import AppReference, AppVersion
from shared.plans.command_types import schemas


def built_in() -> list[tuple[AppReference, AppVersion]]:
    """Those whose command types are on offer here, in the order of their numbers."""
    return [
        (app, version)
        for app, version in _all()
        if all(step.command.get("type") in schemas() for step in version.configuration.steps)
    ]


def _all() -> Iterator[tuple[AppReference, AppVersion]]:
    folder = resources.files("shared.plans").joinpath("builtin_apps")
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        if file.name.endswith(".json"):
            seed = json.loads(file.read_text("utf-8"))
            app = AppReference.model_validate(seed.pop("app"))
            yield app, AppVersion.model_validate(seed)
