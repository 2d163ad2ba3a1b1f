"""The process that does the executor's work; the guardian is its parent."""

from collections.abc import Sequence

from services.executor.bootstrap import TITLE, TOPICS_IN, TOPICS_OUT, build_app
from services.executor.commands.registry import build_registry
from services.executor.processes.guardian_link import GuardianLink
from services.executor.repository import COLLECTIONS
from services.executor.settings import ExecutorSettings
from shared import service

CARD = service.Card(
    name="executor",
    title=TITLE,
    topics_in=TOPICS_IN,
    topics_out=TOPICS_OUT,
    collections=[spec.name for spec in COLLECTIONS],
    plug_ins={"commands": build_registry().names()},
)


def main(argv: Sequence[str], link: GuardianLink | None) -> int:
    """Serve under the guardian behind `link`, or check."""

    def build(settings: ExecutorSettings) -> service.App:
        if link is None:
            return build_app(settings)
        return build_app(
            settings, owner_mark=link.owner, all_clear=link.clear, live_until=link.live_until
        )

    return service.main(argv, card=CARD, settings_class=ExecutorSettings, build=build, uvloop=True)
