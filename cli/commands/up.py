"""`cadenza up`: the whole platform on this machine, until Ctrl-C."""

from cli.exits import PASSED
from cli.options import AsJson
from cli.output import console, errors, print_json
from cli.sandboxed import running_sandbox, stay
from sandbox.addresses import API_KEY
from sandbox.settings import SandboxSettings
from sandbox.supervisor import Sandbox
from shared.settings import load


def up(as_json: AsJson = False) -> int:
    """Start Kafka, MongoDB, moto, the Virtuoso simulator and the five services; Ctrl-C ends them.

    What KAFKA__BOOTSTRAP_SERVERS, MONGO__URI, OBJECTS__URI, AWS__ENDPOINT_URL and PROXY__UPSTREAM_URL name is used
    instead of an embedded part.
    """
    talk = errors if as_json else console
    with running_sandbox(load(SandboxSettings), talk) as sandbox:
        if as_json:
            print_json(_addresses(sandbox))
        else:
            show_addresses(sandbox)
            console.print("Ctrl-C stops everything; the data stay.")
        stay(sandbox, talk)
    return PASSED


def show_addresses(sandbox: Sandbox) -> None:
    """Where everything listens."""
    for name, address in _addresses(sandbox).items():
        console.print(f"  {name:<11} {address}")


def _addresses(sandbox: Sandbox) -> dict[str, str]:
    where = sandbox.addresses
    return {
        **where.services,
        "kafka": where.kafka,
        "mongodb": "as MONGO__URI says" if sandbox.settings.mongo else where.mongo,
        "aws": where.aws,
        "virtuoso": where.virtuoso,
        "objects": where.objects,
        "api key": API_KEY,
        "logs": str(sandbox.logs.absolute()),
    }
