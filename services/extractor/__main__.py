"""`python -m services.extractor`: serve. `--check`: build everything, connect nothing, say what is used."""

import sys
from collections.abc import Sequence

from services.extractor.bootstrap import TITLE, TOPICS_IN, TOPICS_OUT, build_app
from services.extractor.repository import COLLECTIONS
from services.extractor.settings import ExtractorSettings
from shared.errors import ConfigurationError
from shared.observability import logging, tracing
from shared.runtime import explain, run, serve
from shared.settings import load


def main(argv: Sequence[str]) -> int:
    """Exit code 0 when ended by a signal, 2 when a setting is wrong."""
    try:
        settings = load(ExtractorSettings)
    except ConfigurationError as error:
        return explain(error)
    if "--check" in argv:
        return run(lambda: _check(settings))
    logging.configure(settings.telemetry, "extractor")
    tracing.configure(settings.telemetry, "extractor")
    return run(lambda: _serve(settings), uvloop=True)


async def _serve(settings: ExtractorSettings) -> int:
    app = build_app(settings)
    return await serve(app.resources, health=app.health, settings=settings.runtime)


async def _check(settings: ExtractorSettings) -> int:
    app = build_app(settings)
    print(f"{TITLE}: {', '.join(part.name for part in app.resources)}")
    print(f"topics in: {', '.join(TOPICS_IN)}")
    print(f"topics out: {', '.join(TOPICS_OUT)}")
    print(f"collections: {', '.join(spec.name for spec in COLLECTIONS)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
