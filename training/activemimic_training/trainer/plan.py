"""What the policy will be, and by what a run is known, from configuration and dataset, before anything is decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from activemimic_policy.model.config import ModelConfig, preset
from activemimic_policy.spec import PolicySpec
from activemimic_policy.tokenizer import Tokenizer
from activemimic_policy.unified_action import wrist_columns

from activemimic_training.dataset.read import Dataset
from activemimic_training.trainer.config import TrainConfig, TrainConfigError


def plan_policy(
    config: TrainConfig, dataset: Dataset, former: Tokenizer | None = None
) -> tuple[PolicySpec, Tokenizer, ModelConfig]:
    """The policy that `config` makes of `dataset`; `former` is the tokenizer of the checkpoint that it starts from.

    Raises TrainConfigError.
    """
    instructions = tuple(dataset.tasks)
    tokenizer = _tokenizer(config, instructions, former)
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


def identity_of(config: TrainConfig, dataset: Dataset) -> dict[str, Any]:
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


def _tokenizer(config: TrainConfig, instructions: tuple[str, ...], former: Tokenizer | None) -> Tokenizer:
    if config.model.tokenizer:
        return Tokenizer.from_file(config.model.tokenizer)
    if former is not None and former.is_paligemma:
        return former
    return Tokenizer.from_instructions(instructions)
