"""What can go wrong in the executor, beyond `shared.errors`."""

from shared.errors import PermanentError


class PlanRejected(PermanentError):
    """The plan cannot be run."""

    code = "rejected"


class PlanUnavailable(PermanentError):
    """The stored plan is missing or its bytes are not those that were accepted."""

    code = "plan_unavailable"
