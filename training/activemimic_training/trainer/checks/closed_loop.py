"""How often a checkpoint succeeds in the simulator, asked of `activemimic eval`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from activemimic_description.common.errors import OperationError

from activemimic_training.trainer.setup.train_config import ClosedLoopSection, TrainConfigError


class ClosedLoopError(OperationError):
    """The evaluation failed; the message holds its last lines."""


def find_command() -> list[str]:
    """How to call the command line of the environment that trains. Raises TrainConfigError when it is not there."""
    beside = Path(sys.executable).with_name("activemimic")
    found = str(beside) if beside.exists() else shutil.which("activemimic")
    if found is None:
        raise TrainConfigError(
            "closed_loop: expected the command `activemimic` (package activemimic_bringup), found none; "
            "install it, or leave closed_loop out"
        )
    return [found]


def success_rate(command: list[str], settings: ClosedLoopSection, checkpoint: Path, out: Path) -> float:
    """The share of successful trials of `checkpoint`; results and report stay in `out`.

    Trials that a killed evaluation left there are kept. Raises ClosedLoopError.
    """
    words = [*command, "eval", "--task", settings.task, "--policy", str(checkpoint), "--out", str(out), "--no-video"]
    words += ["--workers", str(settings.workers)]
    words += ["--first-seed", str(settings.first_seed), "--trials", str(settings.trials)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        said = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise ClosedLoopError(f"{' '.join(words)}: exit code {done.returncode}: {said}")
    try:
        trials = json.loads((out / "results.json").read_text(encoding="utf-8"))["trials"]
        return sum(bool(trial["success"]) for trial in trials) / len(trials)
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise ClosedLoopError(f"{out / 'results.json'}: expected the trials of an evaluation: {error!r}") from None
