"""AWS's errors in our words. Three kinds matter: not open to us (skip), not now (again), no (fail)."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
)

from services.scanner.errors import AwsBusy, AwsRefused, Unavailable
from shared.errors import CadenzaError

NOT_OPEN = frozenset(
    {
        "AuthFailure",
        "InvalidClientTokenId",
        "OptInRequired",
        "RegionDisabledException",
        "SubscriptionRequiredException",
        "UnrecognizedClientException",
    }
)
"""What regions answer that are not enabled for an account."""

NOT_NOW = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "InternalError",
        "InternalFailure",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "TransactionInProgressException",
        "Unavailable",
    }
)


def code_of(error: ClientError) -> str:
    """AWS's word for what went wrong."""
    return str(error.response.get("Error", {}).get("Code", "Unknown"))


def is_passing(error: ClientError) -> bool:
    """True for throttling and trouble on the other side."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return code_of(error) in NOT_NOW or status in {429, 500, 502, 503, 504}


@contextmanager
def translated() -> Iterator[None]:
    """No exception of botocore passes."""
    try:
        yield
    except ClientError as error:
        raise _refusal(error) from error
    except (ConnectionError, HTTPClientError, IncompleteReadError, ReadTimeoutError) as error:
        raise AwsBusy(f"AWS did not answer: {type(error).__name__}") from error
    except (NoCredentialsError, PartialCredentialsError, ProfileNotFound) as error:
        raise AwsRefused(f"no credentials: {error}", aws_code=type(error).__name__) from error
    except BotoCoreError as error:
        raise AwsRefused(str(error), aws_code=type(error).__name__) from error


def _refusal(error: ClientError) -> CadenzaError:
    code = code_of(error)
    said = error.response.get("Error", {}).get("Message", "")
    message = f"{error.operation_name}: {code}{': ' if said else ''}{said}"
    if code in NOT_OPEN:
        return Unavailable(message, aws_code=code)
    if is_passing(error):
        return AwsBusy(message, aws_code=code)
    return AwsRefused(message, aws_code=code)
