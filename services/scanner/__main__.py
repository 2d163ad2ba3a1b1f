"""`python -m services.scanner`: serve. `--check`: build everything, connect nothing, say what is used."""

import os
import sys
import threading
from collections.abc import Sequence

from services.scanner.aws.registry import SCANNERS
from services.scanner.bootstrap import TITLE, TOPICS_IN, TOPICS_OUT, build_app
from services.scanner.repository import COLLECTIONS
from services.scanner.settings import ScannerSettings
from shared.errors import ConfigurationError
from shared.observability import logging, tracing
from shared.runtime import explain, run, serve
from shared.settings import load


def main(argv: Sequence[str]) -> int:
    """Exit code 0 when ended by a signal, 2 when a setting is wrong."""
    try:
        settings = load(ScannerSettings)
    except ConfigurationError as error:
        return explain(error)
    if "--check" in argv:
        return run(lambda: _check(settings))
    logging.configure(settings.telemetry, "scanner")
    tracing.configure(settings.telemetry, "scanner")
    return run(lambda: _serve(settings))


async def _serve(settings: ScannerSettings) -> int:
    app = build_app(settings)
    return await serve(app.resources, health=app.health, settings=settings.runtime)


async def _check(settings: ScannerSettings) -> int:
    app = build_app(settings)
    print(f"{TITLE}: {', '.join(part.name for part in app.resources)}")
    print(f"topics in: {', '.join(TOPICS_IN)}")
    print(f"topics out: {', '.join(TOPICS_OUT)}")
    print(f"collections: {', '.join(spec.name for spec in COLLECTIONS)}")
    print(f"scanners: {', '.join(scanner.service for scanner in SCANNERS)}")
    return 0


def leave(code: int) -> None:
    """End the process, also while a thread still waits for an answer of AWS that nobody wants any more."""
    if any(thread.name.startswith("aws") for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
