"""`cadenza simulate virtuoso`: the Virtuoso simulator by itself."""

import typer

from cli.exits import FAILED, PASSED

app = typer.Typer(help="Simulators of other people's systems.", no_args_is_help=True)


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    add_help_option=False,
)
def virtuoso(context: typer.Context) -> int:
    """Serve a Virtuoso API with sample data; all options of `python -m sandbox.virtuoso`."""
    from sandbox.virtuoso.__main__ import main

    return FAILED if main(context.args) else PASSED
