"""Exit codes that CI can use, and the errors that end a command with them."""

PASSED = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3


class CliError(Exception):
    """Ends the command with one sentence and an exit code."""

    code = FAILED


class Usage(CliError):
    """The command was called wrongly, or with something that the platform does not accept."""

    code = USAGE


class Unreachable(CliError):
    """The platform did not answer."""

    code = UNREACHABLE


class Refused(CliError):
    """The platform answered with a problem; `problem` is its JSON."""

    def __init__(self, status: int, problem: dict[str, object]) -> None:
        super().__init__(_sentence(status, problem))
        self.status = status
        self.problem = problem
        self.code = _exit_code(status)


def _exit_code(status: int) -> int:
    if status >= 500:
        return UNREACHABLE
    return FAILED if status in (404, 409, 410) else USAGE


def _sentence(status: int, problem: dict[str, object]) -> str:
    detail = str(problem.get("detail") or problem.get("title") or f"HTTP {status}")
    errors = problem.get("errors")
    lines = [
        f"{error.get('field')}: {error.get('message')}"
        for error in (errors if isinstance(errors, list) else [])
        if isinstance(error, dict)
    ]
    if lines and detail.startswith(lines[0]):  # "the first of them (and 2 more)"
        return "\n  ".join(lines)
    return "\n  ".join([detail, *(line for line in lines if line != detail)])
