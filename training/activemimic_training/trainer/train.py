"""One training run, from a dataset folder to a checkpoint folder.

The run folder: `checkpoint/` (the last, to be served: averaged weights), `best/` (the best that was validated),
`checkpoints/last/` (to go on from), `metrics.csv`, `validation.csv`, `validation_errors.csv`, `tensorboard/`,
`config.yaml`, `environment.jsonl`, `summary.json`.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from activemimic_data.dataset.read import Dataset
from activemimic_description.common.atomic import write_text
from activemimic_policy.model.flow_policy import FlowPolicy
from activemimic_policy.model.model_config import ModelConfig
from activemimic_policy.spec import PolicySpec
from activemimic_policy.tokenizer import Tokenizer
from activemimic_policy.unified_action import body_columns
from rich.console import Console

from activemimic_training.trainer.checks.closed_loop import find_command
from activemimic_training.trainer.checks.failures import TrainingError, explained, not_finite
from activemimic_training.trainer.checks.log import StepMetrics, TrainLog, read_metrics
from activemimic_training.trainer.checks.periodic_checks import PeriodicChecks
from activemimic_training.trainer.checks.validation import Validator
from activemimic_training.trainer.data.batches import Batch, Batches, Examples
from activemimic_training.trainer.data.prefetch import prefetched
from activemimic_training.trainer.data.samples import (
    Frames,
    TrainingData,
    check_cameras,
    choose_held_out,
    decode_frames,
    fit_normalization,
    load_rows,
)
from activemimic_training.trainer.data.video_frames import VideoFrames
from activemimic_training.trainer.optimization.distributed import Ranks, join_ranks, spread
from activemimic_training.trainer.optimization.lora import add_adapters
from activemimic_training.trainer.optimization.memory import keep_freed_memory
from activemimic_training.trainer.optimization.network import Network
from activemimic_training.trainer.optimization.optimisation import Optimisation
from activemimic_training.trainer.setup.initialization import begin, former_tokenizer, freeze
from activemimic_training.trainer.setup.run_plan import identity_of, plan_policy
from activemimic_training.trainer.setup.train_config import TrainConfig
from activemimic_training.trainer.state.checkpoints import STATE, Checkpoints
from activemimic_training.trainer.state.resume import load_state
from activemimic_training.trainer.state.run_record import write_record


@dataclass(frozen=True)
class TrainSummary:
    """summary.json: how a run went."""

    loss_first: float  # mean of the first 20 steps
    loss_last: float  # mean of the last 100 steps
    steps: int
    frames_per_s: float  # a frame is one row with all its cameras; without decoding and checkpoints
    parameters: int


def train(config: TrainConfig, console: Console | None = None) -> TrainSummary:
    """Trains, or goes on with the run in config.out, to its last step; returns how it went.

    Raises TrainConfigError, TrainingDataError, DatasetError, CheckpointError, WeightsError, ResumeError,
    ClosedLoopError and TrainingError.
    """
    with join_ranks(config.device) as ranks, explained(config):
        return _train(config, ranks, console or Console(stderr=True) if ranks.first else Console(quiet=True))


def _train(config: TrainConfig, ranks: Ranks, console: Console) -> TrainSummary:
    torch.set_num_threads(config.threads or max(1, (os.cpu_count() or 1) // ranks.count))
    if config.device == "cpu":
        keep_freed_memory()
    command = find_command() if config.closed_loop else []
    dataset, others = Dataset(config.dataset), [Dataset(other.dataset) for other in config.cotrain]
    spec, tokenizer, model_config = plan_policy(config, dataset, former_tokenizer(config), others)
    data, held_out = _rows(config, dataset, spec)
    steps = config.total_steps(len(data.starts))
    torch.manual_seed(config.seed)
    model = FlowPolicy(model_config)
    for line in begin(model, config, spec, tokenizer):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    freeze(model, config.freeze)
    add_adapters(model, config.lora)
    network = Network(model, spec.num_inference_steps, ranks.device, config.precision, config.recompute)
    spread(network, ranks)
    optimisation = Optimisation(model, config.optimizer, steps, config.ema_decay)
    identity = identity_of(config, dataset, others)
    former = load_state(config.out / STATE, identity, optimisation.blank, ranks)
    done = 0
    if former is not None:
        done, tensors = former
        optimisation.restore(tensors)
        console.print(f"Going on with {config.out} after step {done}.")
    if done < steps:
        if ranks.first:
            write_record(config, done, ranks.count)
        frames = _frames(config, dataset, spec, model_config, console)
        data = replace(data, frames=frames)
        normalization = fit_normalization(data, spec)

        def examples(data: TrainingData) -> Examples:
            return Examples(data, dataset.tasks, tokenizer, spec, normalization, model_config)

        weights = [config.slot_weights.get(slot, 1.0) for slot in spec.slots]
        batches = Batches(
            examples(data),
            model_config,
            config.batch_size,
            config.noise_draws,
            config.seed,
            weights,
            spec.max_delay_steps,
            ranks.device,
            config.accumulate * ranks.count,
            config.augment,
            config.relight,
            _cotrained(config, others, tokenizer, spec, model_config, console),
        )
        validator = None
        if config.validation and held_out:
            validator = Validator(
                examples(replace(held_out, frames=frames)),
                spec,
                normalization,
                model_config.action_width,
                config.batch_size,
                config.validation.batches,
                config.seed,
                ranks.device,
            )
        checkpoints = Checkpoints(
            config.out,
            optimisation,
            model_config,
            spec,
            normalization,
            tokenizer,
            dataset.contract_yaml,
            identity,
            config.batch_size,
            ranks,
            config.lora,
        )
        looks = PeriodicChecks(config, steps, done, validator, command, network, optimisation, checkpoints, ranks)
        bodies = body_columns(spec.slots)
        with TrainLog(config.out, steps, done, console, [*bodies]) if ranks.first else nullcontext() as log:
            _run(config, ranks, network, optimisation, batches, checkpoints, looks, log, bodies, range(done, steps))
    ranks.wait()  # until the metrics are written
    return _summary(config, optimisation, steps, ranks)


def _rows(config: TrainConfig, dataset: Dataset, spec: PolicySpec) -> tuple[TrainingData, TrainingData | None]:
    """What is trained on and what is held out, still without images."""
    check_cameras(dataset, spec.cameras)
    data = load_rows(dataset, config.confidence_weighting).with_slots(
        [dataset.slots.index(name) for name in spec.slots]
    )
    if config.validation is None:
        return data, None
    chosen = choose_held_out(dataset.episodes, config.validation.episodes, config.seed)
    return data.split(chosen, dataset.episodes)


def _frames(config: TrainConfig, dataset: Dataset, spec: PolicySpec, model: ModelConfig, console: Console) -> Frames:
    if config.images == "video":
        return VideoFrames(dataset, spec.cameras, model.image_px)
    threads = torch.get_num_threads()
    disk = config.out if config.images == "disk" else None
    return decode_frames(dataset, spec.cameras, model.image_px, config.max_image_gb, threads, console, disk)


def _cotrained(
    config: TrainConfig,
    others: Sequence[Dataset],
    tokenizer: Tokenizer,
    spec: PolicySpec,
    model: ModelConfig,
    console: Console,
) -> list[tuple[Examples, int]]:
    """The other datasets, each with its own normalisation, and their rows of a batch."""
    made = []
    for other, count in zip(others, config.cotrained_rows(), strict=True):
        rows = load_rows(other, config.confidence_weighting).with_slots(
            [other.slots.index(name) for name in spec.slots]
        )
        data = replace(rows, frames=_frames(config, other, spec, model, console))
        made.append((Examples(data, other.tasks, tokenizer, spec, fit_normalization(data, spec), model), count))
    return made


def _run(
    config: TrainConfig,
    ranks: Ranks,
    network: Network,
    optimisation: Optimisation,
    batches: Batches,
    checkpoints: Checkpoints,
    looks: PeriodicChecks,
    log: TrainLog | None,
    bodies: Mapping[str, list[int]],
    steps: range,
) -> None:
    network.train()
    parts_of_steps = ((step, turn * ranks.count + ranks.rank) for step in steps for turn in range(config.accumulate))
    workers = config.workers if config.workers is not None else 4 * (config.images == "video")
    ahead = prefetched(lambda key: batches.at(*key), parts_of_steps, workers)
    for step in steps:
        begin = time.perf_counter()
        losses = _add_gradients(network, islice(ahead, config.accumulate), ranks)
        value = float(losses[0].sum())
        if not math.isfinite(value):
            raise not_finite(config, "the loss", value, step)
        lr, norm = optimisation.advance(step)
        if not math.isfinite(norm):
            raise not_finite(config, "the gradient", norm, step)
        if log is not None:
            rate = config.batch_size / (time.perf_counter() - begin)
            parts = {body: _mean(losses[:, columns]) for body, columns in bodies.items()}
            log.add(StepMetrics(step + 1, value, lr, norm, rate, parts))
        if looks.due(step + 1):
            looks.look(step + 1, log)
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == steps.stop:
            checkpoints.save(step + 1)


def _add_gradients(network: Network, batches: Iterable[Batch], ranks: Ranks) -> npt.NDArray[np.float64]:
    """What each slot adds to the loss of a whole batch, and its share of the weight (2, D).

    The gradients stay in the parameters; `batches` are this process's parts of the batch.
    """
    sums = []
    for batch in batches:
        losses = network(batch)
        # Sharding takes the mean over processes; what is wanted is the sum.
        (losses[0].sum() * (batch.share * ranks.count)).backward()
        sums.append(losses.detach().double() * batch.share)
    return ranks.sum(torch.stack(sums).sum(dim=0)).cpu().numpy()


def _mean(losses: npt.NDArray[np.float64]) -> float:
    """Of some slots' losses and weights (2, D); NaN where none of them counted."""
    loss, weight = losses.sum(axis=1)
    return float(loss / weight) if weight > 0 else math.nan


def _summary(config: TrainConfig, optimisation: Optimisation, planned: int, ranks: Ranks) -> TrainSummary:
    steps = read_metrics(config.out / "metrics.csv")
    if not steps:
        raise TrainingError(f"{config.out / 'metrics.csv'}: expected the losses of {planned} steps, found none")
    losses = [metrics.loss for metrics in steps]
    seconds = sum(config.batch_size / metrics.frames_per_s for metrics in steps)
    summary = TrainSummary(
        loss_first=float(np.mean(losses[:20])),
        loss_last=float(np.mean(losses[-100:])),
        steps=len(steps),
        frames_per_s=len(steps) * config.batch_size / seconds,
        parameters=sum(parameter.numel() for parameter in optimisation.model.parameters()),
    )
    if ranks.first:
        write_text(config.out / "summary.json", json.dumps(asdict(summary), indent=2))
    return summary
