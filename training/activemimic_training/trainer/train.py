"""One training run, from a dataset folder to a checkpoint folder.

The run folder: `checkpoint/` (to be served: averaged weights), `checkpoints/last/` (to go on from),
`metrics.csv`, `tensorboard/`, `summary.json`.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from activemimic_policy.atomic import write_text
from activemimic_policy.checkpoint import Checkpoint, save_checkpoint
from activemimic_policy.model.config import ModelConfig, preset
from activemimic_policy.model.flow_policy import FlowPolicy
from activemimic_policy.spec import PolicySpec
from activemimic_policy.tokenizer import Tokenizer
from activemimic_policy.unified_action import wrist_columns
from activemimic_policy.weights import start_from
from rich.console import Console

from activemimic_training.dataset.read import Dataset
from activemimic_training.trainer.batches import Batches
from activemimic_training.trainer.config import TrainConfig, TrainConfigError
from activemimic_training.trainer.data import fit_normalization, load_training_data
from activemimic_training.trainer.log import StepMetrics, TrainLog, read_metrics
from activemimic_training.trainer.optimisation import Optimisation
from activemimic_training.trainer.resume import load_state, save_state


class TrainingError(RuntimeError):
    """Training stopped by itself; the message says why, and which checkpoint is still good."""


@dataclass(frozen=True)
class TrainSummary:
    """summary.json: how a run went."""

    loss_first: float  # mean of the first 20 steps
    loss_last: float  # mean of the last 100 steps
    steps: int
    frames_per_s: float  # a frame is one row with all its cameras; without decoding and checkpoints
    parameters: int


def train(config: TrainConfig, console: Console | None = None) -> TrainSummary:
    """Trains, or goes on with the run in config.out, until config.steps; returns how it went.

    Raises TrainConfigError, TrainingDataError, DatasetError, ResumeError and TrainingError.
    """
    console = console or Console(stderr=True)
    threads = config.threads or os.cpu_count() or 1
    torch.set_num_threads(threads)
    dataset = Dataset(config.dataset)
    spec, tokenizer, model_config = _plan(config, dataset)
    torch.manual_seed(config.seed)
    model = FlowPolicy(model_config)
    if config.model.weights is not None:
        fresh = start_from(model, config.model.weights)
        if config.variant == "sft_only" and not fresh:
            raise TrainConfigError(
                f"variant sft_only starts without actions learnt elsewhere, and {config.model.weights} has an "
                "expert; name a vision-language model's weights, or leave model.weights out"
            )
        console.print(f"Starting from {config.model.weights}; {fresh or 'nothing'} begins at random.")
    optimisation = Optimisation(model.to(config.device), config.optimizer, config.steps, config.ema_decay)
    last = config.out / "checkpoints" / "last"
    identity = _identity(config, dataset)
    former = load_state(last, identity)
    done = 0
    if former is not None:
        done, tensors = former
        optimisation.restore(tensors)
        console.print(f"Going on with {config.out} after step {done}.")
    config.out.mkdir(parents=True, exist_ok=True)
    if done < config.steps:
        data = load_training_data(dataset, spec.cameras, model_config.image_px, config.max_image_gb, threads, console)
        data = data.with_slots([dataset.slots.index(name) for name in spec.slots])
        normalization = fit_normalization(data, spec)
        batches = Batches(
            data,
            dataset.tasks,
            tokenizer,
            spec,
            normalization,
            model_config,
            config.batch_size,
            config.noise_draws,
            config.seed,
            [config.slot_weights.get(slot, 1.0) for slot in spec.slots],
            config.device,
        )

        def save(step: int) -> None:
            training = {**identity, "steps_done": step, "frames_seen": step * config.batch_size}
            weights = optimisation.averaged_weights()
            checkpoint = Checkpoint(
                model_config, spec, weights, normalization, tokenizer, dataset.contract_yaml, training
            )
            save_checkpoint(config.out / "checkpoint", checkpoint)
            save_state(last, step, identity, optimisation.state())

        _run(config, optimisation, batches, done, save, console)
    return _summary(config, optimisation)


def _plan(config: TrainConfig, dataset: Dataset) -> tuple[PolicySpec, Tokenizer, ModelConfig]:
    """What the policy will be, from configuration and dataset, before anything is decoded."""
    instructions = tuple(dataset.tasks)
    named = config.model.tokenizer
    tokenizer = Tokenizer.from_file(named) if named else Tokenizer.from_instructions(instructions)
    cameras = config.cameras or tuple(dataset.cameras)
    try:
        slots = list(dataset.slots)
        if config.variant == "wrist_only":
            slots = [slots[column] for column in wrist_columns(slots)]
        model = preset(
            config.model.preset,
            cameras=len(cameras),
            vocab_size=tokenizer.vocab_size,
            state_dim=len(slots),
            action_dim=len(slots),
            **config.model.sizes(),
        )
        spec = PolicySpec(
            cameras=cameras,
            slots=tuple(slots),
            gripper_slots=config.policy.gripper_slots,
            fps=dataset.fps,
            horizon=model.horizon,
            execute_steps=config.policy.execute_steps,
            flow_steps=config.policy.flow_steps,
            max_delay_steps=config.policy.max_delay_steps,
            relative_knee=config.policy.relative_knee,
            instructions=instructions,
            interface=dataset.interface,
            fingerprint=dataset.fingerprint,
        )
        if unknown := sorted(set(config.slot_weights) - set(spec.slots)):
            raise ValueError(f"slot_weights: {', '.join(unknown)}: expected some of {', '.join(spec.slots)}")
        for instruction in instructions:
            tokenizer.encode(instruction, model.text_length)
    except ValueError as error:
        raise TrainConfigError(f"the configuration does not fit the dataset {config.dataset}: {error}") from None
    return spec, tokenizer, model


def _identity(config: TrainConfig, dataset: Dataset) -> dict[str, Any]:
    """On what the result depends: a resumed run must agree in it, and a checkpoint tells it."""
    return {
        "config": config.result_fields(),
        "dataset": {
            "name": Path(config.dataset).name,
            "episodes": len(dataset.episodes),
            "frames": len(dataset.state),
            "action_sum": float(np.abs(dataset.action, dtype=np.float64).sum()),
            "fingerprint": dataset.fingerprint,
        },
    }


def _run(
    config: TrainConfig,
    optimisation: Optimisation,
    batches: Batches,
    done: int,
    save: Callable[[int], None],
    console: Console,
) -> None:
    optimisation.model.train()
    with TrainLog(config.out, config.steps, done, console) as log:
        for step in range(done, config.steps):
            begin = time.perf_counter()
            batch = batches.at(step)
            loss = optimisation.model.loss(batch.inputs, batch.actions, batch.weight, batch.noise, batch.t)
            value = loss.item()
            if not math.isfinite(value):
                raise TrainingError(_stopped(config, "the loss", value, step))
            loss.backward()
            lr, norm = optimisation.advance(step)
            if not math.isfinite(norm):
                raise TrainingError(_stopped(config, "the gradient", norm, step))
            rate = config.batch_size / (time.perf_counter() - begin)
            log.add(StepMetrics(step + 1, value, lr, norm, rate))
            if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
                save(step + 1)


def _stopped(config: TrainConfig, what: str, value: float, step: int) -> str:
    folder = config.out / "checkpoint"
    good = f"the checkpoint before it is whole: {folder}" if folder.exists() else "there is no checkpoint yet"
    return (
        f"{what} became {value} at step {step + 1}; {good}. Lower optimizer.lr (now {config.optimizer.lr:g}), "
        "or look for outliers with `activemimic dataset inspect`"
    )


def _summary(config: TrainConfig, optimisation: Optimisation) -> TrainSummary:
    steps = read_metrics(config.out / "metrics.csv")
    if not steps:
        raise TrainingError(f"{config.out / 'metrics.csv'}: expected the losses of {config.steps} steps, found none")
    losses = [metrics.loss for metrics in steps]
    seconds = sum(config.batch_size / metrics.frames_per_s for metrics in steps)
    summary = TrainSummary(
        loss_first=float(np.mean(losses[:20])),
        loss_last=float(np.mean(losses[-100:])),
        steps=len(steps),
        frames_per_s=len(steps) * config.batch_size / seconds,
        parameters=sum(parameter.numel() for parameter in optimisation.model.parameters()),
    )
    write_text(config.out / "summary.json", json.dumps(asdict(summary), indent=2))
    return summary
