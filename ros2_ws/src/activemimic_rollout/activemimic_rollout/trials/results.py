"""Trials and the file that keeps them: written after every trial, read again to go on, and to be compared."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from activemimic_description.common.atomic import write_text
from activemimic_description.common.errors import OperationError
from activemimic_description.common.renamed import with_new_names

from activemimic_rollout.trials.trial_plan import TrialPlan

FORMER_NAMES = {"variations": "perturbations", "zeroed_cameras": "ablated_cameras", "join": "rtc_mode"}


class ResultsError(OperationError):
    """A results file that cannot be used; the text names it and says why."""


@dataclass(frozen=True)
class Protocol:
    """How trials are run. Trials of different protocols are not written into one file.

    Attributes:
        policy: a checkpoint's folder, or the name of what moves the robot instead.
        weights: digest of the checkpoint's weights and of the noise it starts from, so that another checkpoint of the
            same name is not mixed with it.
        plan: name of the trial plan.
        latency_ms: how late a checkpoint's chunks came in lock-step, and
        rtc_mode: how they went on from one another there.
        ablated_cameras: those that a checkpoint was shown black.
        instruction: what a checkpoint was told in place of each scene's own words; empty: those.
    """

    mode: Literal["lockstep", "ros"]
    task: str
    policy: str
    plan: str
    time_limit_s: float
    contract: str = "g1_sim"
    weights: str = ""
    perturbations: list[str] = field(default_factory=list)
    latency_ms: float = 0.0
    rtc_mode: str = "replace"
    ablated_cameras: list[str] = field(default_factory=list)
    instruction: str = ""


@dataclass(frozen=True)
class Trial:
    """One trial's outcome. Times are simulated, from the reset on; `time_s` is that of success or of the end.

    Attributes:
        stage_times_s: when each stage was reached first.
        first_seen_s: when the head camera first saw the target; None if never, or not watched (through ROS).
        head_travel_rad: how far the head has turned, there and back; None if not watched.
        episode: the recorded episode's folder on the recorder's machine; empty if nothing was recorded.
        diagnostics: node -> its last values.
    """

    number: int
    seed: int
    cell: int | None
    success: bool
    points: int
    stage: str
    failure: str
    time_s: float
    stage_times_s: dict[str, float]
    first_seen_s: float | None = None
    head_travel_rad: float | None = None
    episode: str = ""
    diagnostics: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def media(self) -> str:
        return media_of(self.number)


@dataclass(frozen=True)
class Results:
    """A results file: how the trials were run, and the trials so far, by number."""

    protocol: Protocol
    trials: list[Trial]


def media_of(number: int) -> str:
    """Where a trial's trace (.csv) and video (.mp4) lie beside the results, without suffix."""
    return f"trials/{number:03d}"


def read_results(path: Path) -> Results:
    """A results file. Raises ResultsError if it is missing or damaged."""
    try:
        data = json.loads(path.read_text())
        return Results(
            Protocol(**with_new_names(data["protocol"], FORMER_NAMES, str(path))),
            [Trial(**entry) for entry in data["trials"]],
        )
    except FileNotFoundError:
        raise ResultsError(f"{path}: there is no such results file") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResultsError(f"{path}: not a results file ({error}); move it away or choose another folder") from None


def load_trials(path: Path, protocol: Protocol, plan: TrialPlan) -> list[Trial]:
    """The trials of an earlier run; none if there is no file.

    Raises:
        ResultsError: the file is damaged, holds another protocol's trials, or trials that are not the plan's.
    """
    if not path.exists():
        return []
    found = read_results(path)
    if found.protocol != protocol:
        raise ResultsError(
            f"{path}: holds trials of {_differing(found.protocol, protocol)}, asked for "
            f"{_differing(protocol, found.protocol)}; choose another folder"
        )
    planned = {trial.number: (trial.seed, trial.cell) for trial in plan.trials}
    for trial in found.trials:
        if planned.get(trial.number, (trial.seed, trial.cell)) != (trial.seed, trial.cell):
            raise ResultsError(
                f"{path}: trial {trial.number} was run with seed {trial.seed}, cell {trial.cell}, the plan "
                f"{plan.name} has {planned[trial.number]}; choose another folder"
            )
    return found.trials


def save_trials(path: Path, protocol: Protocol, trials: list[Trial]) -> None:
    """Replace the file as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data: dict[str, Any] = {"protocol": asdict(protocol), "trials": [asdict(trial) for trial in trials]}
    write_text(path, json.dumps(data, indent=1) + "\n")


def _differing(one: Protocol, other: Protocol) -> str:
    theirs = asdict(other)
    return ", ".join(f"{name} {value!r}" for name, value in asdict(one).items() if value != theirs[name])
