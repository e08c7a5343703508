"""The commands and what they are for. Each module beside this one holds those of one subject."""

from __future__ import annotations

from typing import Annotated

import typer

from activemimic_bringup.cli import bag, data, ego, learning, operate, policy, robot, security, simulation, watch
from activemimic_bringup.cli.error_exit import ErrorGroup

app = typer.Typer(
    name="activemimic",
    cls=ErrorGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
)


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Deploy, record, train and evaluate policies for the AGIBOT G1."""


app.command()(robot.up)
app.command()(operate.robot)
app.command()(robot.record)
app.command()(watch.top)
app.command()(watch.trace)
app.command()(simulation.demo)
app.add_typer(bag.app, name="bag")
app.add_typer(data.app, name="dataset")
app.add_typer(ego.app, name="ego")
app.command()(learning.train)
app.command()(learning.losses)
app.command("eval")(learning.evaluate)
app.command()(learning.compare)
app.add_typer(policy.app, name="policy")
app.add_typer(security.app, name="security")
app.add_typer(simulation.app, name="sim")


if __name__ == "__main__":
    app()
