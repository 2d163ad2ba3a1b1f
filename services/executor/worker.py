"""The process that does the executor's work; the guardian is its parent."""

from services.executor.bootstrap import TITLE, TOPICS_IN, TOPICS_OUT, build_app
from services.executor.processes.guardian_link import GuardianLink
from services.executor.repository import COLLECTIONS
from services.executor.settings import ExecutorSettings
from shared.errors import ConfigurationError
from shared.observability import logging, tracing
from shared.runtime import explain, run, serve
from shared.security.secrets import secrets_of
from shared.settings import load


def work(link: GuardianLink) -> int:
    """Serve until a signal comes."""
    try:
        settings = load(ExecutorSettings)
    except ConfigurationError as error:
        return explain(error)
    logging.configure(settings.telemetry, "executor", secrets=secrets_of(settings))
    tracing.configure(settings.telemetry, "executor")

    async def main() -> int:
        app = build_app(settings, owner_mark=link.owner, live_until=link.live_until)
        return await serve(app.resources, health=app.health, settings=settings.runtime)

    return run(main)  # asyncio, not uvloop, which starts processes by plain fork


def check() -> int:
    """Build everything, connect nothing, say what is used."""
    try:
        settings = load(ExecutorSettings)
    except ConfigurationError as error:
        return explain(error)

    async def main() -> int:
        app = build_app(settings)
        print(f"{TITLE}: {', '.join(part.name for part in app.resources)}")  # noqa: T201
        print(f"topics in: {', '.join(TOPICS_IN)}")  # noqa: T201
        print(f"topics out: {', '.join(TOPICS_OUT)}")  # noqa: T201
        print(f"collections: {', '.join(spec.name for spec in COLLECTIONS)}")  # noqa: T201
        return 0

    return run(main)
