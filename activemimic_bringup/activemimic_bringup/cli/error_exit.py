"""Errors of the project end a command as one red line; others keep their traceback."""

from __future__ import annotations

import sys
from typing import Any

from activemimic_description.common.errors import InvalidInputError, exit_code, explanation
from typer.core import TyperGroup

# Taken for one version.
FORMER_FLAGS = {
    "--join": "--rtc-mode",
    "--variation": "--perturbation",
    "--zero-camera": "--ablate-camera",
    "--slips": "--action-noise",
    "--execute-steps": "--execution-horizon",
    "--flow-steps": "--num-inference-steps",
}


class UsageProblem(InvalidInputError):  # noqa: N818 - click has a UsageError already
    """Arguments that make no sense together; the text says what to give instead."""


class ErrorGroup(TyperGroup):
    """A command group that prints the project's errors as one line and exits with 1 or 2."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [_new_flag(argument) for argument in args])

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            text = explanation(error)
            if text is None or ctx.params.get("debug"):
                raise
            print_error(text)
            sys.exit(exit_code(error))


def _new_flag(argument: str) -> str:
    flag, equals, value = argument.partition("=")
    new = FORMER_FLAGS.get(flag)
    if new is None:
        return argument
    print(f"warning: {flag} is now called {new}", file=sys.stderr)
    return new + equals + value


def print_error(text: str) -> None:
    """Write `text` to stderr, in red if that is a terminal."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True)
    console.print(Text.assemble(("error: ", "bold red"), (text, "red")))
