"""Which scenes are tried: published plans that spread the trials over a task's cells, and plain series of seeds.

Seeds from `FIRST_HELD_OUT_SEED` on are for published plans alone: demonstrations and datasets refuse them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from activemimic_data.bags.episode import FIRST_HELD_OUT_SEED
from activemimic_description.common.errors import InvalidInputError

_FOLDER = Path(__file__).parent / "plans"


class PlanError(InvalidInputError):
    """A plan file that cannot be used; the text names file, field, what was expected and found."""


@dataclass(frozen=True)
class PlannedTrial:
    """One scene. `number` names it within its plan; without a cell the seed draws one."""

    number: int
    seed: int
    cell: int | None = None


@dataclass(frozen=True)
class TrialPlan:
    """What is tried on one task, in this order."""

    name: str
    task: str
    trials: tuple[PlannedTrial, ...]

    def first(self, count: int | None) -> TrialPlan:
        """The plan cut to its first trials; whole if None. Raises PlanError if it has fewer."""
        if count is None:
            return self
        if count > len(self.trials):
            raise PlanError(f"plan {self.name}: expected at most {len(self.trials)} trials, asked for {count}")
        return TrialPlan(self.name, self.task, self.trials[:count])


def published_plan(task: str) -> TrialPlan:
    """The plan that ships with the task."""
    return load_plan(_FOLDER / f"{task}.yaml", task)


def load_plan(path: Path | str, task: str) -> TrialPlan:
    """A plan file for a task; raises PlanError."""
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise PlanError(f"{path}: expected a trial plan, found: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict) or set(data) != {"task", "trials"}:
        found = sorted(map(str, data)) if isinstance(data, dict) else type(data).__name__
        raise PlanError(f"{path}: expected the fields task and trials, found {found}")
    if data["task"] != task:
        raise PlanError(f"{path}: task: expected {task}, found {data['task']!r}")
    if not isinstance(data["trials"], list) or not data["trials"]:
        raise PlanError(f"{path}: trials: expected a list of trials, found {data['trials']!r}")
    trials = tuple(_trial(path, number, entry) for number, entry in enumerate(data["trials"]))
    return TrialPlan(path.stem, task, trials)


def seed_series(task: str, first_seed: int, count: int) -> TrialPlan:
    """`count` scenes drawn by successive seeds, which also number them: series of one task add up."""
    return TrialPlan("seeds", task, tuple(PlannedTrial(seed, seed) for seed in range(first_seed, first_seed + count)))


def _trial(path: Path, number: int, entry: Any) -> PlannedTrial:
    place = f"{path}: trials[{number}]"
    if not isinstance(entry, dict) or set(entry) != {"cell", "seed"}:
        raise PlanError(f"{place}: expected cell and seed, found {entry!r}")
    for field, least in (("cell", 0), ("seed", FIRST_HELD_OUT_SEED)):
        if type(entry[field]) is not int or entry[field] < least:
            raise PlanError(f"{place}.{field}: expected a whole number from {least} on, found {entry[field]!r}")
    return PlannedTrial(number, entry["seed"], entry["cell"])
