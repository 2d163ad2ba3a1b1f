"""Between a run and its sources: what the run lends, and how it ends when they do not come."""

from services.executor.models import RunEnd
from services.executor.scope import RunParts, RunScope
from services.executor.sources.bringing import Note, Wanting
from services.executor.sources.problems import SourceFailed
from shared.errors import CadenzaError
from shared.security.redaction import Redactor


async def bring_sources(scope: RunScope, parts: RunParts, *, note: Note) -> None:
    """Raises CadenzaError, OSError."""
    if parts.sources is None:
        raise SourceFailed("this executor fetches no sources")
    wanting = Wanting(
        execution_id=scope.execution_id,
        tenant=scope.tenant,
        plan=scope.plan,
        inputs=scope.inputs,
        folder=scope.folder,
        stop=scope.stop,
        secrecy=scope.secrecy,
        recorded=[dict(record) for record in scope.sources],
    )
    await parts.sources.bring(wanting, note)


def failure(error: CadenzaError | OSError, redactor: Redactor) -> RunEnd:
    """The end of a run whose files did not come."""
    if isinstance(error, OSError):
        return RunEnd("failed", "source_failed", f"{error.strerror}: {error.filename}")
    return RunEnd("failed", error.code, redactor.redact(error.message))
