"""`cadenza plan FILE|ID`: what comes after what, and how it stands."""

from pathlib import Path
from typing import Annotated

import typer

from cli.client import Json
from cli.exits import PASSED, Usage
from cli.options import ApiKey, AsJson, Url, gateway
from cli.output import console, print_json, status
from cli.plans import load_plan
from cli.tables import with_table
from shared.errors import InvalidRequest
from shared.plans.graph import PlanGraph, graph_of, mermaid
from shared.plans.validation import validate_plan


def plan(
    what: Annotated[
        str, typer.Argument(help="A plan file or the id of an execution.", show_default=False)
    ],
    drawn: Annotated[
        bool, typer.Option("--mermaid", help="As a Mermaid flowchart, to be drawn.")
    ] = False,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Show a plan as a graph; of an execution with the status of each step."""
    if Path(what).exists() or Path(what).suffix in {".yaml", ".yml", ".json"}:
        graph = _of_file(Path(what))
    else:
        with gateway(url, api_key) as client:
            graph = PlanGraph.model_validate(client.get(f"/v1/executions/{what}/plan"))
    if drawn:
        print(mermaid(graph), end="")
    elif as_json:
        print_json(graph.model_dump(by_alias=True))
    else:
        _tell(graph.model_dump(by_alias=True))
    return PASSED


def _of_file(path: Path) -> PlanGraph:
    try:
        return graph_of(validate_plan(with_table(load_plan(path), path.parent, client=None)))
    except InvalidRequest as error:
        raise Usage(f"{path} is not a valid plan: {error.message}") from None


def _tell(graph: Json) -> None:
    """One line for each step, with what it comes after."""
    after: dict[str, list[str]] = {}
    for edge in graph["edges"]:
        how = {"fallback": "if {} fails", "always": "always after {}"}.get(edge["kind"], "after {}")
        after.setdefault(edge["to"], []).append(how.format(edge["from"]))
    console.print(f"[bold]{graph['name']}[/] ({graph['strategy']})", markup=True)
    for node in graph["nodes"]:
        comes = ", ".join(after.get(node["name"], [])[:5])
        more = len(after.get(node["name"], [])) - 5
        comes += f" and {more} more" if more > 0 else ""
        when = f"when {node['when']}" if node["when"] else ""
        state = status(node["status"]) if node["status"] else ""
        lanes = ", ".join(f"{n} {name}" for name, n in sorted((node["lanes"] or {}).items()))
        rest = "  ".join(part for part in (node["reason"] or "", lanes, comes, when) if part)
        console.print(f"{node['step_id']:>4}", node["name"], state, rest, markup=False)
