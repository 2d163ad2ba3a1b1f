"""`cadenza doctor`: what this machine and the platform have, what is broken, what would mend it. Changes nothing."""

from dataclasses import asdict

from rich.markup import escape

from cli.diagnosis import dependencies, machine, services
from cli.diagnosis.finding import Finding
from cli.exits import FAILED, PASSED
from cli.options import AsJson
from cli.output import console, print_json
from cli.settings import CliSettings
from cli.targets import run_quietly, targets
from sandbox.settings import SandboxSettings
from shared.settings import load

MARKS = {"ok": "[green]✓[/]", "note": "[yellow]·[/]", "problem": "[red]✗[/]"}


def doctor(as_json: AsJson = False) -> int:
    """Look at this machine and at the platform; leave with 1 when something that is needed is broken.

    What KAFKA__BOOTSTRAP_SERVERS, MONGO__URI, OBJECTS__URI and CADENZA_URL name must be there; without them the
    sandbox's parts are looked at if they run.
    """
    found = examine()
    broken = any(finding.level == "problem" for finding in found)
    if as_json:
        print_json({"well": not broken, "findings": [asdict(finding) for finding in found]})
    else:
        for finding in found:
            _tell(finding)
    return FAILED if broken else PASSED


def examine() -> list[Finding]:
    """Everything, in the order in which a person would look."""
    sandbox = load(SandboxSettings)
    given = {"kafka": sandbox.kafka, "mongo": sandbox.mongo, "objects": sandbox.objects}
    required = frozenset(name for name, value in given.items() if value is not None)
    found = list(machine.findings(sandbox))
    found += run_quietly(dependencies.findings(targets(), required=required))
    answers = list(services.findings(CliSettings()))
    if not required and all(answer.level == "note" for answer in answers):
        found += machine.ports(sandbox)  # else it is the platform itself that has them
    return found + answers


def _tell(finding: Finding) -> None:
    text = f"{MARKS[finding.level]} {escape(finding.what)}: {escape(finding.text)}"
    console.print(text, soft_wrap=True)
    if finding.fix:
        console.print(f"    → {escape(finding.fix)}", soft_wrap=True)
