"""`python -m services.proxy`: serve. `--check`: build everything, connect nothing, say what is used."""

import sys
from collections.abc import Sequence

from services.proxy.bootstrap import TITLE, TOPICS_OUT, build_app
from services.proxy.commands.registry import COMMANDS
from services.proxy.repository import COLLECTIONS
from services.proxy.settings import ProxySettings
from shared import service

CARD = service.Card(
    name="proxy",
    title=TITLE,
    topics_in=(),
    topics_out=TOPICS_OUT,
    collections=[spec.name for spec in COLLECTIONS],
    plug_ins={"commands": [command.name for command in COMMANDS]},
)


def main(argv: Sequence[str]) -> int:
    """See `shared.service.main`."""
    return service.main(argv, card=CARD, settings_class=ProxySettings, build=build_app, uvloop=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
