"""What the policy will be, and by what a run is known, from configuration and dataset, before anything is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from activemimic_data.dataset.read import Dataset
from activemimic_policy.model.model_config import ModelConfig, preset
from activemimic_policy.spec import PolicySpec
from activemimic_policy.tokenizer import Tokenizer
from activemimic_policy.unified_action import wrist_columns

from activemimic_training.egocentric.episodes.load import is_egocentric
from activemimic_training.trainer.setup.train_config import TrainConfig, TrainConfigError


def plan_policy(
    config: TrainConfig, dataset: Dataset, former: Tokenizer | None = None, others: Sequence[Dataset] = ()
) -> tuple[PolicySpec, Tokenizer, ModelConfig]:
    """The policy that `config` makes of `dataset`; `former` is the tokenizer of the checkpoint that it starts from.

    Raises TrainConfigError.
    """
    instructions = tuple(dataset.tasks)
    spoken = tuple(dict.fromkeys([*instructions, *(task for other in others for task in other.tasks)]))
    tokenizer = _tokenizer(config, spoken, former)
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
            # Targets of egocentric video are relative to the chunk's start already.
            absolute_slots=tuple(slots) if is_egocentric(dataset) else config.policy.absolute_slots,
            fps=dataset.fps,
            horizon=model.horizon,
            execution_horizon=config.policy.execution_horizon,
            num_inference_steps=config.policy.num_inference_steps,
            noise_scale=config.policy.noise_scale,
            max_delay_steps=config.policy.max_delay_steps,
            relative_knee=config.policy.relative_knee,
            instructions=instructions,
            interface=dataset.interface,
            fingerprint=dataset.fingerprint,
        )
        if unknown := sorted(set(config.slot_weights) - set(spec.slots)):
            raise ValueError(f"slot_weights: {', '.join(unknown)}: expected some of {', '.join(spec.slots)}")
        for other in others:
            _check_alike(other, dataset, cameras)
        for instruction in spoken:
            tokenizer.encode(instruction, model.text_length)
    except ValueError as error:
        raise TrainConfigError(f"the configuration does not fit the dataset {config.dataset}: {error}") from None
    return spec, tokenizer, model


def identity_of(config: TrainConfig, dataset: Dataset, others: Sequence[Dataset] = ()) -> dict[str, Any]:
    """On what the result depends: a resumed run must agree in it, and a checkpoint tells it."""
    about = {"config": config.result_fields(), "dataset": _known_by(dataset)}
    return {**about, "cotrain": [_known_by(other) for other in others]} if others else about


def _known_by(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.root.name,
        "episodes": len(dataset.episodes),
        "frames": len(dataset.state),
        "action_sum": float(np.abs(dataset.action, dtype=np.float64).sum()),
        "fingerprint": dataset.fingerprint,
    }


def _check_alike(other: Dataset, dataset: Dataset, cameras: Sequence[str]) -> None:
    """Raises ValueError unless `other` can stand in one batch with `dataset`."""
    for field in ("slots", "fps"):
        expected, found = getattr(dataset, field), getattr(other, field)
        if expected != found:
            raise ValueError(f"cotrain {other.root}: {field}: expected {expected} (of dataset), found {found}")
    if missing := [camera for camera in cameras if camera not in other.cameras]:
        raise ValueError(f"cotrain {other.root}: cameras: expected {', '.join(cameras)}, found no {missing[0]}")


def _tokenizer(config: TrainConfig, instructions: tuple[str, ...], former: Tokenizer | None) -> Tokenizer:
    if config.model.tokenizer:
        return Tokenizer.from_file(config.model.tokenizer)
    if former is not None and former.is_paligemma:
        return former
    return Tokenizer.from_instructions(instructions)
