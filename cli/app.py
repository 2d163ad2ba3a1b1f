"""The command tree. A new command is one file in `commands/` and one line here."""

from typing import Annotated

import typer

from cli.commands import (
    apps,
    cancel,
    chaos,
    decide,
    demo,
    dlq,
    doctor,
    executions,
    extract,
    lanes,
    logs,
    migrate,
    plan,
    queue,
    rerun,
    retention,
    run,
    scan,
    schedules,
    secrets,
    simulate,
    up,
    uploads,
    validate,
    variables,
    webhook,
    workers,
)


def _leave(code: int | None, **_: object) -> None:
    """What a command returns is the exit code."""
    raise typer.Exit(code or 0)


app = typer.Typer(
    result_callback=_leave,
    help="Run tests, follow them, and ask what happened.",
    epilog="Exit codes: 0 passed, 1 failed, 2 wrong usage or refused, 3 the platform cannot be reached.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

SANDBOX = "Sandbox"
RUNS = "Runs"
DATA = "Data"
OPERATION = "Operation"

app.command(rich_help_panel=SANDBOX)(demo.demo)
app.command(rich_help_panel=SANDBOX)(up.up)
app.add_typer(simulate.app, name="simulate", rich_help_panel=SANDBOX)
app.command(rich_help_panel=RUNS)(run.run)
app.command(rich_help_panel=RUNS)(validate.validate)
app.add_typer(apps.app, name="apps", rich_help_panel=RUNS)
app.add_typer(schedules.app, name="schedules", rich_help_panel=RUNS)
app.command(rich_help_panel=RUNS)(plan.plan)
app.command(rich_help_panel=RUNS)(rerun.rerun)
app.add_typer(executions.app, name="executions", rich_help_panel=RUNS)
app.command(rich_help_panel=RUNS)(logs.logs)
app.command(rich_help_panel=RUNS)(cancel.cancel)
app.command(rich_help_panel=RUNS)(uploads.upload)
app.add_typer(uploads.app, name="uploads", rich_help_panel=RUNS)
app.add_typer(secrets.app, name="secrets", rich_help_panel=RUNS)
app.add_typer(variables.app, name="variables", rich_help_panel=RUNS)
app.command(rich_help_panel=RUNS)(lanes.lanes)
app.command(rich_help_panel=RUNS)(decide.approve)
app.command(rich_help_panel=RUNS)(decide.reject)
app.command(rich_help_panel=RUNS)(decide.tell)
app.command(rich_help_panel=RUNS)(queue.queue)
app.command(rich_help_panel=DATA)(extract.extract)
app.command(rich_help_panel=DATA)(scan.scan)
app.add_typer(webhook.app, name="webhook", rich_help_panel=DATA)
app.add_typer(migrate.app, name="migrate", rich_help_panel=OPERATION)
app.command(rich_help_panel=OPERATION)(retention.retention)
app.command(rich_help_panel=OPERATION)(doctor.doctor)
app.add_typer(workers.app, name="workers", rich_help_panel=OPERATION)
app.add_typer(dlq.app, name="dlq", rich_help_panel=OPERATION)
app.command(rich_help_panel=OPERATION)(chaos.chaos)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"cadenza {_number()}")
        raise typer.Exit


def _number() -> str:
    """Of the installed package, else of the checkout."""
    import tomllib
    from importlib.metadata import PackageNotFoundError, version
    from pathlib import Path

    try:
        return version("cadenza")
    except PackageNotFoundError:
        project = Path(__file__).parents[1] / "pyproject.toml"
        return str(tomllib.loads(project.read_text("utf-8"))["project"]["version"])


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Run tests, follow them, and ask what happened."""
