"""Commands about SROS 2: `security policy`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Restrict who may say what, with SROS 2.")


@app.callback()
def root() -> None:
    """One command yet, which keeps its name."""


@app.command()
def policy(
    contract: Annotated[str, typer.Option(help="Robot contract: a name or a YAML file.")] = "g1_sim",
    out: Annotated[Path | None, typer.Option(help="File to write. Default: print it.")] = None,
) -> None:
    """Write the policy of SROS 2 that allows every node what it does with that robot, and nothing else."""
    from activemimic_description.contract import load_contract

    from activemimic_bringup.launching.security import policy_xml

    text = policy_xml(load_contract(contract))
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
