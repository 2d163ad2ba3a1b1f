"""`cadenza`: the one place where an error becomes an exit code. 0 passed, 1 failed, 2 usage, 3 unreachable."""

import sys
from collections.abc import Sequence

import typer

from cli.app import app
from cli.exits import FAILED, PASSED, UNREACHABLE, USAGE, CliError
from cli.output import visible
from shared.errors import CadenzaError, ConfigurationError, TransientError


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command and leave with its exit code."""
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    """The exit code of a command; what went wrong stands on standard error in one sentence."""
    try:
        typer.main.get_command(app).main(args=list(argv), prog_name="cadenza")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else PASSED
    except (CliError, CadenzaError, KeyError) as error:
        sentence, code = _explained(error)
        print(f"cadenza: {visible(sentence)}", file=sys.stderr)
        return code
    return PASSED


def _explained(error: CliError | CadenzaError | KeyError) -> tuple[str, int]:
    match error:
        case CliError():
            return str(error), error.code
        case ConfigurationError():
            return error.message, USAGE
        case TransientError():
            return error.message, UNREACHABLE
        case CadenzaError():
            return error.message, FAILED
        case _:
            return f"The answer has no field {error}: is the platform of this version?", FAILED


if __name__ == "__main__":
    main()
