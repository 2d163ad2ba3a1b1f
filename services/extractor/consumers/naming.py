"""What a request must name before it may become an item's id and part of an object's key."""

import re

from services.extractor.models import Request
from shared.errors import InvalidMessage

CUSTOMER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}")
EXECUTION = re.compile(r"[1-9][0-9]{0,17}")


def checked(request: Request) -> Request:
    """The request itself. Raises InvalidMessage."""
    if not CUSTOMER.fullmatch(request.customer):
        raise InvalidMessage("customer_id: names no customer")
    if not EXECUTION.fullmatch(request.execution_id):
        raise InvalidMessage("execution_id: is not the number of a Virtuoso execution")
    return request
