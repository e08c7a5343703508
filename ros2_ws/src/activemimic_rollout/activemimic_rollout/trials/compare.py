"""Two policies on the same scenes, paired: what each did where the other did not."""

from __future__ import annotations

from dataclasses import dataclass

from activemimic_description.common.errors import InvalidInputError

from activemimic_rollout.trials.results import Results
from activemimic_rollout.trials.statistics import mcnemar_exact


class ComparisonError(InvalidInputError):
    """Results that cannot be paired; the text says in what they differ."""


@dataclass(frozen=True)
class Comparison:
    """Counts over the paired trials. `p` is of McNemar's exact test, two-sided."""

    trials: int
    both: int
    only_first: int
    only_second: int
    neither: int
    points_first: int
    points_second: int
    p: float

    @property
    def different(self) -> bool:
        """Whether equality is rejected at the 5 % level."""
        return self.p < 0.05


def compare(first: Results, second: Results) -> Comparison:
    """Pair two results trial by trial.

    They may differ in policy and perturbations, nothing else: task, plan, time limit, mode and scenes have to agree.

    Raises ComparisonError.
    """
    for name in ("task", "plan", "mode", "time_limit_s", "contract"):
        theirs, ours = getattr(second.protocol, name), getattr(first.protocol, name)
        if theirs != ours:
            raise ComparisonError(f"{name}: the first has {ours!r}, the second {theirs!r}; only equals can be paired")
    scenes = [{(trial.number, trial.seed, trial.cell): trial for trial in one.trials} for one in (first, second)]
    if scenes[0].keys() != scenes[1].keys():
        alone = sorted(number for number, _, _ in scenes[0].keys() ^ scenes[1].keys())
        raise ComparisonError(
            f"trials: the first has {len(scenes[0])}, the second {len(scenes[1])}; not in both: "
            f"{', '.join(map(str, alone[:10]))}{' …' if len(alone) > 10 else ''}"
        )
    pairs = [(trial, scenes[1][scene]) for scene, trial in scenes[0].items()]
    outcomes = [(one.success, other.success) for one, other in pairs]
    only_first, only_second = outcomes.count((True, False)), outcomes.count((False, True))
    return Comparison(
        trials=len(pairs),
        both=outcomes.count((True, True)),
        only_first=only_first,
        only_second=only_second,
        neither=outcomes.count((False, False)),
        points_first=sum(one.points for one, _ in pairs),
        points_second=sum(other.points for _, other in pairs),
        p=mcnemar_exact(only_first, only_second),
    )
