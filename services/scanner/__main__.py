"""`python -m services.scanner`: serve. `--check`: build everything, connect nothing, say what is used."""

import os
import sys
import threading
from collections.abc import Sequence

from services.scanner.aws.registry import SCANNERS
from services.scanner.bootstrap import TITLE, TOPICS_IN, TOPICS_OUT, build_app
from services.scanner.repository import COLLECTIONS
from services.scanner.settings import ScannerSettings
from shared import service

CARD = service.Card(
    name="scanner",
    title=TITLE,
    topics_in=TOPICS_IN,
    topics_out=TOPICS_OUT,
    collections=[spec.name for spec in COLLECTIONS],
    plug_ins={"scanners": [scanner.service for scanner in SCANNERS]},
)


def main(argv: Sequence[str]) -> int:
    """See `shared.service.main`."""
    return service.main(argv, card=CARD, settings_class=ScannerSettings, build=build_app)


def leave(code: int) -> None:
    """End the process, also while a thread still waits for an answer of AWS that nobody wants any more."""
    if any(thread.name.startswith("aws") for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
