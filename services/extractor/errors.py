"""What can go wrong in an extraction. The code of an error is the reason that is recorded."""

from shared.errors import Conflict, InvalidRequest, NotFound, PermanentError, TransientError


class UnknownCustomer(NotFound):
    """No customer of this tenant has this id or slug."""

    code = "unknown_customer"


class CustomerInactive(Conflict):
    """The customer is switched off."""

    code = "customer_inactive"


class CredentialsMissing(PermanentError):
    """There is no API token for this customer."""

    code = "credentials_missing"


class AccessDenied(PermanentError):
    """Virtuoso refuses the customer's credentials for this execution."""

    code = "denied"


class ExecutionMissing(PermanentError):
    """Virtuoso knows no execution with this id."""

    code = "execution_missing"


class NotFinished(PermanentError):
    """The execution did not finish within the time that the extractor waits."""

    code = "not_finished"


class InconsistentAnswer(PermanentError):
    """An answer lacks what cannot be done without, or its step outcomes do not sum up."""

    code = "inconsistent_answer"


class UnreadableAnswer(TransientError):
    """Virtuoso answered with something that is not its JSON."""

    code = "unreadable_answer"


class Overtaken(PermanentError):
    """A later claim of the same extraction has written to the lake already."""

    code = "overtaken"


class LakeBusy(TransientError):
    """Other writers changed the same object again and again."""

    code = "lake_busy"


class ExtractionMissing(NotFound):
    """Nothing was ever asked for this execution."""

    code = "extraction_missing"


class BadQuery(InvalidRequest):
    """The SQL is not one question to the tenant's tables."""

    code = "bad_query"


class QueryTimeout(InvalidRequest):
    """The query took longer than allowed."""

    code = "query_timeout"
