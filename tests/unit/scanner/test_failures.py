import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)

from services.scanner.aws.failures import translated
from services.scanner.errors import AwsBusy, AwsRefused, Unavailable


def refused(code, status=400):
    return ClientError(
        {
            "Error": {"Code": code, "Message": "said"},
            "ResponseMetadata": {"HTTPStatusCode": status},
        },
        "DescribeInstances",
    )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (refused("AuthFailure", 401), Unavailable),
        (refused("OptInRequired"), Unavailable),
        (refused("UnrecognizedClientException"), Unavailable),
        (refused("InvalidClientTokenId", 403), Unavailable),
        (refused("UnauthorizedOperation", 403), AwsRefused),
        (refused("AccessDenied", 403), AwsRefused),
        (refused("RequestLimitExceeded", 503), AwsBusy),
        (refused("Throttling"), AwsBusy),
        (refused("Strange", 500), AwsBusy),
        (refused("SlowDown", 503), AwsBusy),
        (EndpointConnectionError(endpoint_url="http://x"), AwsBusy),
        (ConnectTimeoutError(endpoint_url="http://x"), AwsBusy),
        (ReadTimeoutError(endpoint_url="http://x"), AwsBusy),
        (NoCredentialsError(), AwsRefused),
    ],
)
def test_errors_become_skip_again_or_fail(error, kind):
    with pytest.raises(kind) as caught, translated():
        raise error
    assert type(caught.value) is kind


def test_the_reason_names_call_and_code():
    with (
        pytest.raises(Unavailable, match="DescribeInstances: OptInRequired: said") as caught,
        translated(),
    ):
        raise refused("OptInRequired")
    assert caught.value.context["aws_code"] == "OptInRequired"
