"""`python -m services.extractor`: serve. `--check`: build everything, connect nothing, say what is used."""

import sys
from collections.abc import Sequence

from services.extractor.bootstrap import TITLE, TOPICS_IN, TOPICS_OUT, build_app
from services.extractor.repository import COLLECTIONS
from services.extractor.settings import ExtractorSettings
from shared import service

CARD = service.Card(
    name="extractor",
    title=TITLE,
    topics_in=TOPICS_IN,
    topics_out=TOPICS_OUT,
    collections=[spec.name for spec in COLLECTIONS],
)


def main(argv: Sequence[str]) -> int:
    """See `shared.service.main`."""
    return service.main(
        argv, card=CARD, settings_class=ExtractorSettings, build=build_app, uvloop=True
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
