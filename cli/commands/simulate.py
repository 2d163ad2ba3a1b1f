"""`cadenza simulate virtuoso` and `seven-ps`: a simulator by itself."""

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


@app.command(
    "seven-ps",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    add_help_option=False,
)
def seven_ps(context: typer.Context) -> int:
    """Serve a 7PS; all options of `python -m sandbox.seven_ps`. The sandbox's executor looks for it on port 8091."""
    from sandbox.seven_ps.__main__ import main

    return FAILED if main(context.args) else PASSED
