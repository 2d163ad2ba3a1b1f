"""`python -m sandbox.seven_ps --port 8091 [--latency-ms 100] [--rate-429 0.1] [--failing-set checkout] …`."""

import argparse
import sys

from sandbox.addresses import TENANT, WEBHOOK_SECRET
from sandbox.seven_ps.app import TOKEN, build_app
from sandbox.seven_ps.callbacks import Callbacks
from sandbox.seven_ps.faults import Faults
from sandbox.virtuoso.server import run_alone

PORT = 8091


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.seven_ps", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address (default %(default)s)")
    parser.add_argument("--port", type=int, default=PORT, help="port (default %(default)s)")
    parser.add_argument("--token", default=TOKEN, help="accepted token (default %(default)s)")
    parser.add_argument(
        "--tenant", default=TENANT, help="who signs callbacks (default %(default)s)"
    )
    parser.add_argument("--webhook-secret", default=WEBHOOK_SECRET, help="signs callbacks")
    parser.add_argument("--latency-ms", type=float, default=0, help="added to every answer")
    parser.add_argument("--rate-429", type=float, default=0, help="share answered 429, 0 to 1")
    parser.add_argument("--rate-500", type=float, default=0, help="share answered 500, 0 to 1")
    parser.add_argument("--drop", type=float, default=0, help="share broken off, 0 to 1")
    parser.add_argument("--step-ms", type=int, default=300, help="of a step (default %(default)s)")
    parser.add_argument("--failing-set", dest="failing_sets", action="append", default=[])
    parser.add_argument("--endless", action="store_true", help="jobs never end")
    parser.add_argument("--broken-jobs", action="store_true", help="jobs fail before any test")
    parser.add_argument("--no-callback", dest="callback", action="store_false")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Serve until a signal; 1 when the port is taken."""
    given = _arguments(sys.argv[1:] if argv is None else argv)
    switches = {name: value for name, value in vars(given).items() if name in Faults.model_fields}
    callbacks = Callbacks(tenant=given.tenant, secret=given.webhook_secret)
    app = build_app(faults=Faults(**switches), token=given.token, callbacks=callbacks)
    return run_alone(app, given.host, given.port, say="7PS simulator on {}")


if __name__ == "__main__":
    sys.exit(main())
