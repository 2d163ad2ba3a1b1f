"""`python -m services.gateway`: serve. `--check`: build everything, connect nothing, say what is used."""

import sys
from collections.abc import Sequence

from services.gateway.bootstrap import TITLE, TOPICS_IN, TOPICS_OUT, build_app
from services.gateway.repository import COLLECTIONS
from services.gateway.settings import GatewaySettings
from shared import service

CARD = service.Card(
    name="gateway",
    title=TITLE,
    topics_in=TOPICS_IN,
    topics_out=TOPICS_OUT,
    collections=[spec.name for spec in COLLECTIONS],
)


def main(argv: Sequence[str]) -> int:
    """See `shared.service.main`."""
    return service.main(
        argv, card=CARD, settings_class=GatewaySettings, build=build_app, uvloop=True
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
