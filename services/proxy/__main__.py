"""`python -m services.proxy`: serve. `--check`: build everything, connect nothing, say what is used."""

import sys
from collections.abc import Sequence

from services.proxy.bootstrap import TITLE, TOPICS_OUT, build_app
from services.proxy.commands.registry import COMMANDS
from services.proxy.repository import COLLECTIONS
from services.proxy.settings import ProxySettings
from shared.errors import ConfigurationError
from shared.observability import logging, tracing
from shared.runtime import explain, run, serve
from shared.settings import load


def main(argv: Sequence[str]) -> int:
    """Exit code 0 when ended by a signal, 2 when a setting is wrong."""
    try:
        settings = load(ProxySettings)
    except ConfigurationError as error:
        return explain(error)
    if "--check" in argv:
        return run(lambda: _check(settings))
    logging.configure(settings.telemetry, "proxy")
    tracing.configure(settings.telemetry, "proxy")
    return run(lambda: _serve(settings), uvloop=True)


async def _serve(settings: ProxySettings) -> int:
    app = build_app(settings)
    return await serve(app.resources, health=app.health, settings=settings.runtime)


async def _check(settings: ProxySettings) -> int:
    app = build_app(settings)
    print(f"{TITLE}: {', '.join(part.name for part in app.resources)}")
    print(f"topics out: {', '.join(TOPICS_OUT)}")
    print(f"collections: {', '.join(spec.name for spec in COLLECTIONS)}")
    print(f"commands: {', '.join(command.name for command in COMMANDS)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
