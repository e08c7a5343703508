"""Trials and the file that keeps them: written after every trial, read again to go on."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal


class ResultsError(RuntimeError):
    """A results file that cannot be gone on with; the text names it and says why."""


@dataclass(frozen=True)
class Plan:
    """What is tried. Trials of different plans are not written into one file."""

    mode: Literal["policy", "expert"]
    task: str
    time_limit_s: float
    record: bool
    checkpoint: str = ""
    contract: str = "g1_sim"
    without_cameras: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Trial:
    """One trial's outcome. `time_s` is simulated time from the reset to success or to the end."""

    seed: int
    success: bool
    time_s: float
    wall_s: float
    status: dict[str, str]  # the task's last words
    diagnostics: dict[str, dict[str, str]]  # node -> its last values
    episode: str = ""  # folder on the recorder's machine


def load_trials(path: Path, plan: Plan) -> list[Trial]:
    """The trials of an earlier run; none if there is no file. Raises ResultsError for another plan's."""
    if not path.exists():
        return []
    try:
        data = json.loads(path.read_text())
        found, trials = data["plan"], [Trial(**entry) for entry in data["trials"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ResultsError(f"{path}: not a results file ({error}); move it away or choose another folder") from None
    if found != asdict(plan):
        raise ResultsError(f"{path}: holds trials of the plan {found}, asked for {asdict(plan)}; choose another folder")
    return trials


def save_trials(path: Path, plan: Plan, trials: list[Trial]) -> None:
    """Replace the file as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".json.tmp")
    unfinished.write_text(json.dumps({"plan": asdict(plan), "trials": [asdict(t) for t in trials]}, indent=1) + "\n")
    os.replace(unfinished, path)
