"""Success against demonstrations and against minutes of training, with 95 % intervals.

    python benchmarks/learning_curve.py out/curve.png --run out/reaching/train \
        --demonstrations 30=out/eval_30 100=out/eval_100 283=out/eval_283

`--run`: a training with `closed_loop`; its trials at every look. `--demonstrations`: how many a policy has seen, and
the folder of its evaluation by `activemimic eval`. Minutes are those of training alone, at the rate that the run
reaches in a tenth of its steps: that of a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from activemimic_description.common.configuration import read_config
from activemimic_rollout.trials.results import read_results
from activemimic_rollout.trials.statistics import success_text, wilson_interval
from activemimic_training.trainer.checks.log import read_metrics
from activemimic_training.trainer.setup.train_config import TrainConfig, TrainConfigError
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Point = tuple[float, int, int]  # where, successes, trials


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="PNG")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--demonstrations", nargs="+", required=True, metavar="COUNT=FOLDER")
    arguments = parser.parse_args()
    by_count = [(float(count), *counted(Path(folder))) for count, folder in map(split, arguments.demonstrations)]
    by_minute = looks(arguments.run)
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    draw(left, by_count, "demonstrations")
    draw(right, by_minute, "minutes of training on two cores")
    left.set_ylabel("success")
    figure.savefig(arguments.out, dpi=110)
    for name, points in (("demonstrations", by_count), ("minutes", by_minute)):
        for where, successes, trials in points:
            print(f"{where:g} {name}: {success_text(successes, trials)}")


def split(text: str) -> tuple[str, str]:
    count, _, folder = text.partition("=")
    return count, folder


def counted(folder: Path) -> tuple[int, int]:
    """Successes and trials of an evaluation."""
    trials = read_results(folder / "results.json").trials
    return sum(trial.success for trial in trials), len(trials)


def looks(run: Path) -> list[Point]:
    """Of a run's closed-loop trials: minutes of training, successes, trials."""
    batch = read_config(TrainConfig, run / "config.yaml", (), TrainConfigError).batch_size
    frames_per_min = 60 * float(np.percentile([it.frames_per_s for it in read_metrics(run / "metrics.csv")], 90))
    steps = {int(folder.name.removeprefix("step_")): folder for folder in (run / "trials").iterdir()}
    return [(step * batch / frames_per_min, *counted(folder)) for step, folder in sorted(steps.items())]


def draw(axis: Axes, points: list[Point], label: str) -> None:
    where = [point[0] for point in points]
    rates = np.array([successes / trials for _, successes, trials in points])
    low, high = np.array([wilson_interval(successes, trials) for _, successes, trials in points]).T
    axis.errorbar(where, rates, [rates - low, high - rates], fmt="o-", capsize=3, color="#30638e")
    axis.set(xlabel=label, ylim=(0, 1.02))
    axis.grid(alpha=0.3)


if __name__ == "__main__":
    main()
