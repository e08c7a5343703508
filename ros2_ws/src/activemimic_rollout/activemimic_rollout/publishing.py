"""A checkpoint as it is given to others: half the size, with a card that says what it learnt from and what it can do.

In: a checkpoint's folder, its dataset, evaluations of it. Out: a folder that is a checkpoint, too, with

card.md            what it is, what it learnt from, how often it succeeded
training.yaml      the configuration that trained it
evaluations/       the results of each evaluation
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import yaml
from activemimic_data.dataset.read import Dataset
from activemimic_description.common.atomic import written_beside
from activemimic_description.common.errors import InvalidInputError
from activemimic_description.common.strict import explain
from activemimic_policy.checkpoint import WEIGHTS, Checkpoint, load_checkpoint, write_files
from activemimic_policy.spec import PolicySpec
from pydantic import ValidationError

from activemimic_rollout.agents.agents import weights_digest
from activemimic_rollout.trials.results import Protocol, Results, read_results, save_trials
from activemimic_rollout.trials.statistics import wilson_interval
from activemimic_rollout.trials.trial_plan import FIRST_HELD_OUT_SEED

CARD, TRAINING, EVALUATIONS = "card.md", "training.yaml", "evaluations"
_DATA_HEAD = "## What it learnt from"
_RECORDER = "recorder"  # the node whose diagnostics say where episodes are recorded
_AS_IT_IS: Mapping[str, float] = {}


class PublishError(InvalidInputError):
    """Parts that do not belong together; the text names file, field, expected and found."""


def publish(
    checkpoint: Path,
    dataset: Path | None,
    evaluations: Sequence[Path],
    out: Path,
    served: Mapping[str, float] = _AS_IT_IS,
) -> None:
    """Write the folder `out` anew. A published checkpoint may be published again; it keeps its evaluations.

    Args:
        dataset: what the checkpoint learnt from. None: a published one keeps what its card says of that.
        served: fields of the spec that are something else from now on, as noise_scale and execution_horizon.

    Raises:
        PublishError: the checkpoint learnt from another dataset, or it is not said from which, it does not fit
            float16 or cannot be served so, an evaluation tried other weights than those that are published, or `out`
            holds something that was not published.
        CheckpointError, DatasetError, ResultsError: a part cannot be read.
    """
    _check_place(out)
    loaded = load_checkpoint(checkpoint)
    loaded = replace(loaded, spec=_served(loaded.spec, served))
    data = _said_before(checkpoint) if dataset is None else _said_of(Dataset(dataset), checkpoint, loaded)
    _check_range(checkpoint, loaded)
    files = {path.stem: path for path in (checkpoint / EVALUATIONS).glob("*.json")}
    files |= {folder.name: folder / "results.json" for folder in evaluations}
    with written_beside(out) as partial:
        write_files(partial, loaded, half=True)
        weights = weights_digest(str(partial))
        (partial / EVALUATIONS).mkdir()
        for name, file in files.items():
            _check_weights(file, weights)
            _carry_over(file, partial / EVALUATIONS / f"{name}.json", out.name)
        (partial / TRAINING).write_text(yaml.safe_dump(loaded.training.get("config", {}), sort_keys=False))
        (partial / CARD).write_text(_card(out.name, partial, loaded, data), encoding="utf-8")


def _carry_over(results: Path, published: Path, policy: str) -> None:
    """Write an evaluation's results as those of a policy's name, without what lies on the machine that tried it."""
    found = read_results(results)
    trials = [
        replace(trial, episode="", diagnostics={n: v for n, v in trial.diagnostics.items() if n != _RECORDER})
        for trial in found.trials
    ]
    save_trials(published, replace(found.protocol, policy=policy), trials)


def published_evaluations(folder: Path) -> dict[str, Results]:
    """The evaluations that a published checkpoint came with, by name: as it is meant to be used first.

    Raises ResultsError.
    """
    read = {path.stem: read_results(path) for path in sorted((folder / EVALUATIONS).glob("*.json"))}
    return dict(sorted(read.items(), key=lambda named: withheld(named[1].protocol)))


def withheld(protocol: Protocol) -> int:
    """What was kept from the policy: 0 nothing, 1 the look that it knows, 2 what it needs to see or to be told."""
    return 2 if protocol.ablated_cameras or protocol.instruction else bool(protocol.perturbations)


def _served(spec: PolicySpec, changed: Mapping[str, float]) -> PolicySpec:
    try:
        return PolicySpec.model_validate({**spec.model_dump(), **changed})
    except ValidationError as error:
        raise PublishError("; ".join(explain(error, "policy"))) from None


def _check_place(out: Path) -> None:
    if out.exists() and not (out / CARD).is_file():
        raise PublishError(f"{out}: expected no such path or a published checkpoint, found one without {CARD}")


def _check_range(folder: Path, checkpoint: Checkpoint) -> None:
    largest = torch.finfo(torch.float16).max
    for name, tensor in checkpoint.weights.items():
        if (found := float(tensor.abs().max())) > largest:
            raise PublishError(f"{folder}, {name}: expected weights up to {largest:g}, as float16 has, found {found:g}")


def _said_before(folder: Path) -> str:
    """What a published checkpoint's card says of the data."""
    card = folder / CARD
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    data = text.partition(_DATA_HEAD)[2].strip()
    if not data:
        raise PublishError(
            f"{folder}: expected the dataset that it learnt from, or a published checkpoint whose {CARD} tells of that"
        )
    return data


def _said_of(data: Dataset, folder: Path, checkpoint: Checkpoint) -> str:
    learnt = checkpoint.training.get("dataset", {})
    expected = {"episodes": learnt.get("episodes"), "frames": learnt.get("frames")}
    found = {"episodes": len(data.episodes), "frames": len(data)}
    if expected != found:
        raise PublishError(
            f"{data.root}: expected the dataset that {folder} learnt from, with {expected['episodes']} episodes and "
            f"{expected['frames']} rows, found {found['episodes']} and {found['frames']}"
        )
    return _data(data)


def _check_weights(results: Path, weights: str) -> None:
    found = read_results(results).protocol.weights
    if found != weights:
        raise PublishError(
            f"{results}: expected trials of the published weights {weights}, found weights {found}; "
            "evaluate the published folder"
        )


SUCCESS_HEAD = ("trials", "success", "95 %", "time of a success", "first sight", "head turned")


def success_row(results: Results) -> tuple[str, ...]:
    """An evaluation as texts under `SUCCESS_HEAD`: the interval is Wilson's, what follows it are medians."""
    successes, trials = sum(trial.success for trial in results.trials), results.trials
    low, high = wilson_interval(successes, len(trials))
    return (
        how(results),
        f"{successes} of {len(trials)}",
        f"{100 * low:.0f} to {100 * high:.0f} %",
        _median([trial.time_s for trial in trials if trial.success], "s"),
        _median([trial.first_seen_s for trial in trials], "s"),
        _median([trial.head_travel_rad for trial in trials], "rad"),
    )


def success_table(evaluations: Collection[Results]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows of all evaluations of a policy; those of one that does several tasks name the task."""
    if len({results.protocol.task for results in evaluations}) < 2:
        return SUCCESS_HEAD, [success_row(results) for results in evaluations]
    return ("task", *SUCCESS_HEAD), [(results.protocol.task, *success_row(results)) for results in evaluations]


def how(results: Results) -> str:
    """In words how an evaluation was run: by what path, and what was changed."""
    protocol = results.protocol
    seeds = [trial.seed for trial in results.trials]
    plan = f"scenes {min(seeds)} to {max(seeds)}" if protocol.plan == "seeds" and seeds else "the published trials"
    parts = ["through ROS 2, in real time" if protocol.mode == "ros" else "lock-step", plan]
    parts += protocol.perturbations
    parts += [f"{camera} black" for camera in protocol.ablated_cameras]
    parts += [f"told “{protocol.instruction}”"] if protocol.instruction else []
    return ", ".join(parts)


def _card(name: str, folder: Path, checkpoint: Checkpoint, data: str) -> str:
    parameters = sum(tensor.numel() for tensor in checkpoint.weights.values())
    training, spec = checkpoint.training, checkpoint.spec
    head, rows = success_table(published_evaluations(folder).values())
    lines = [f"| {' | '.join(row)} |" for row in (head, *rows)]
    successes = "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])
    return f"""# {name}

A policy for the simulated AGIBOT G1, {parameters / 1e6:.2f} M parameters stored as float16
({(folder / WEIGHTS).stat().st_size / 1e6:.1f} MB). Written by `activemimic policy publish`.

| | |
|---|---|
| sees | {", ".join(spec.cameras)}, each shrunk to {checkpoint.model.image_px} px |
| moves | {len(spec.slots)} slots: {", ".join(spec.slots)} |
| gives | {spec.horizon} targets, {spec.fps} a second, of which {spec.execution_horizon} are executed |
| starts from | normal noise times {spec.noise_scale:g}, {spec.num_inference_steps} steps |
| was told | {"; ".join(f"“{words}”" for words in spec.instructions)} |
| trained | {training.get("steps_done", 0)} steps, {training.get("frames_seen", 0)} rows seen; see {TRAINING} |

## What it can do

{successes if rows else "Not evaluated yet."}

In simulation only: it has never moved a real robot, and the look of the simulator is all that it knows.

{_DATA_HEAD}

{data}
"""


def _data(data: Dataset) -> str:
    tasks: Counter[str] = Counter(bag["task"] for bag in data.bags)
    words: Counter[str] = Counter(episode.task for episode in data.episodes)
    reasons: Counter[str] = Counter(entry["reason"] for entry in data.skipped)
    rows = [
        *(f"| {task} | {count} episodes |" for task, count in sorted(tasks.items())),
        *(f"| “{text}” | {count} episodes |" for text, count in sorted(words.items())),
        *_seeds(data),
        *(f"| left out: {reason} | {count} episodes |" for reason, count in reasons.most_common()),
        f"| interface | {data.fingerprint[:12]} |",
    ]
    return "\n".join(
        [
            f"{len(data.episodes)} demonstrations of scripted experts in simulation, {len(data)} rows at {data.fps} a "
            f"second ({len(data) / data.fps / 60:.0f} min), cameras {', '.join(data.cameras)}.",
            "",
            "| | |",
            "|---|---|",
            *rows,
        ]
    )


def _seeds(data: Dataset) -> list[str]:
    seeds = [bag["seed"] for bag in data.bags if bag.get("seed") is not None]
    if not seeds:
        return []
    return [f"| seeds | {min(seeds)} to {max(seeds)}; trials have those from {FIRST_HELD_OUT_SEED} on |"]


def _median(values: Sequence[float | None], unit: str) -> str:
    known = [value for value in values if value is not None]
    return f"{np.median(known):.1f} {unit}" if known else ""
