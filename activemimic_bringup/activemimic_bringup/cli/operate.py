"""The operator's words to a running controller: `activemimic robot arm`, and the others."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from activemimic_description.common.errors import FAILED

from activemimic_bringup.cli.error_exit import print_error
from activemimic_bringup.cli.robot import require_ros

PATIENCE_S = 5.0


class Word(str, Enum):
    ARM = "arm"
    RUN = "run"
    HOLD = "hold"
    STOP = "stop"
    RESET = "reset"


_DONE = {
    Word.ARM: "armed: it commands the measured posture",
    Word.RUN: "running: it plays chunks",
    Word.HOLD: "it brakes and holds",
    Word.STOP: "it brakes, holds, and does not run before a reset",
    Word.RESET: "idle: it commands nothing",
}


def robot(
    word: Annotated[Word, typer.Argument(help="What the controller shall do.")],
    key_file: Annotated[
        Path | None, typer.Option(help="File of the controller's operator key, for arm and run. Default: your own.")
    ] = None,
) -> None:
    """Say a word to the controller: arm and run need the operator's key, hold, stop and reset do not.

    One line says what came of it; exit code 1 if the controller refuses or is not there.
    """
    require_ros()
    from activemimic_bringup.launching.graph import shared_environment

    os.environ.update(shared_environment())  # as the nodes: they find each other sooner
    from activemimic_description.stack_topics import CONTROLLER_HOLD
    from activemimic_rollout.trials.trial_series import TrialError

    from activemimic_bringup.nodes.ros_client import RosClient, spinning_node

    with spinning_node("operator") as node:
        client = RosClient(node, PATIENCE_S, str(key_file or ""))
        if not client.finds(CONTROLLER_HOLD):
            domain = os.environ.get("ROS_DOMAIN_ID", "0")
            print_error(
                f"no controller found within {PATIENCE_S:g} s: is it running, in this ROS domain "
                f"(ROS_DOMAIN_ID={domain}), on this computer or open to others (discovery:=subnet)?"
            )
            raise typer.Exit(FAILED)
        try:
            client.operate(word.value)
        except TrialError as error:
            print_error(str(error))
            raise typer.Exit(FAILED) from None
    typer.echo(_DONE[word])
