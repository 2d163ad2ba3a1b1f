"""What can go wrong in the gateway, beyond `shared.errors`."""

from shared.errors import Conflict, PermanentError, Unauthorized


class KeyReused(Conflict):
    """The Idempotency-Key was used with another request."""

    code = "idempotency_key_reused"


class AlreadyEnded(Conflict):
    """The execution has ended."""

    code = "already_ended"


class NotWaiting(Conflict):
    """The step waits for no decision."""

    code = "not_waiting"


class AlreadyThere(Conflict):
    """Another one has this name, number or version already."""

    code = "already_there"


class StillRunning(Conflict):
    """The work has not ended yet."""

    code = "in_progress"


class EncryptionMissing(Conflict):
    """No encryption key is set: the operator sets SECURITY__ENCRYPTION_KEYS for gateway and executor."""

    code = "encryption_missing"


class NothingToRerun(Conflict):
    """No step of the execution failed."""

    code = "nothing_failed"


class StepsForgotten(Conflict):
    """What the steps have recorded is no longer kept."""

    code = "steps_forgotten"


class BadSignature(Unauthorized):
    """The webhook's signature does not match."""

    code = "bad_signature"


class RangeNotSatisfiable(PermanentError):
    """The range lies outside of the content."""

    code = "range_not_satisfiable"
