"""`python -m sandbox.virtuoso --port 8090 [--data DIR] [--latency-ms 100] [--rate-429 0.1] …`."""

import argparse
import sys
from pathlib import Path

from sandbox.virtuoso.app import BASE, TOKEN, build_app
from sandbox.virtuoso.faults import Faults
from sandbox.virtuoso.server import run_alone
from sandbox.virtuoso.world import DATA


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.virtuoso", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address (default %(default)s)")
    parser.add_argument("--port", type=int, default=8090, help="port (default %(default)s)")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with sample data")
    parser.add_argument("--token", action="append", help=f"accepted token (default {TOKEN})")
    parser.add_argument("--latency-ms", type=float, default=0, help="added to every answer")
    parser.add_argument("--rate-429", type=float, default=0, help="share answered 429, 0 to 1")
    parser.add_argument("--rate-500", type=float, default=0, help="share answered 500, 0 to 1")
    parser.add_argument("--drop", type=float, default=0, help="share broken off, 0 to 1")
    parser.add_argument(
        "--html", type=float, default=0, help="share answered with a login page, 0 to 1"
    )
    parser.add_argument("--drift", action="store_true", help="answers in a changed shape")
    parser.add_argument(
        "--step-ms", type=int, default=40, help="length of a step of a run (default %(default)s)"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Serve until a signal; 1 when the port is taken."""
    given = _arguments(sys.argv[1:] if argv is None else argv)
    switches = {name: value for name, value in vars(given).items() if name in Faults.model_fields}
    tokens = tuple(given.token or [TOKEN])
    app = build_app(folder=given.data, faults=Faults(**switches), tokens=tokens)
    return run_alone(app, given.host, given.port, say=f"Virtuoso simulator on {{}}{BASE}")


if __name__ == "__main__":
    sys.exit(main())
