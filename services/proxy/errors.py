"""What Virtuoso may answer instead of what was asked for.

Each carries `upstream {status, code, message}` in its context, which the problem document shows. Statuses are those of
the parents: a refused argument is the caller's to mend (422), a refused credential is ours (502).
"""

from shared.errors import Conflict, Forbidden, InvalidRequest, NotFound, UpstreamInvalid


class UpstreamRejected(InvalidRequest):
    """Virtuoso refused the request."""

    code = "upstream_rejected"


class UpstreamForbidden(Forbidden):
    """Virtuoso does not allow this."""

    code = "upstream_forbidden"


class UpstreamNotFound(NotFound):
    """Virtuoso does not know this thing."""

    code = "upstream_not_found"


class UpstreamConflict(Conflict):
    """Virtuoso holds something that stands against this."""

    code = "upstream_conflict"


class UpstreamDenied(UpstreamInvalid):
    """Virtuoso refused the proxy's own credential."""

    code = "upstream_denied"


class UpstreamNoJson(UpstreamInvalid):
    """Virtuoso answered with something that is no JSON, as it does where a credential has expired."""

    code = "upstream_no_json"
