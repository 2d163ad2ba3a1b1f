"""What an account, a region or a service may answer instead of a list."""

from shared.errors import PermanentError, TransientError


class Unavailable(PermanentError):
    """The region is not open to this account; that is no failure and no empty result."""

    code = "skipped"


class AwsRefused(PermanentError):
    """AWS refused the call."""

    code = "aws_refused"


class AwsBusy(TransientError):
    """AWS is throttling or did not answer; the call may succeed later."""

    code = "aws_busy"


class WrongAccount(PermanentError):
    """The credentials belong to another account than the settings say."""

    code = "wrong_account"
