"""`python -m services.executor`: a guardian with the worker as its child. `--check`: build all, connect nothing."""

import sys
from collections.abc import Sequence

from services.executor.processes import guardian
from services.executor.processes.guardian_link import GuardianLink


def main(argv: Sequence[str]) -> int:
    """The exit code is the worker's: 0 when ended by a signal, 2 when a setting is wrong.

    The guardian imports nothing of the service, so it stays small beside the worker.
    """
    link = GuardianLink.from_arguments(argv)
    if link is None and "--check" not in argv:
        return guardian.run([sys.executable, "-m", "services.executor", *argv])
    from services.executor import worker

    return worker.main([word for word in argv if not word.startswith(guardian.ARGUMENT)], link)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
