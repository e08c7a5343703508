"""A checkpoint that was never trained: complete, small, and as quick to load as one can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from activemimic_description.contract import Contract
from activemimic_description.robot import load_robot
from activemimic_policy.checkpoint import Checkpoint, save_checkpoint
from activemimic_policy.model.flow_policy import FlowPolicy
from activemimic_policy.model.model_config import preset
from activemimic_policy.normalization import Normalization, Statistics
from activemimic_policy.spec import PolicySpec
from activemimic_policy.tokenizer import Tokenizer

INSTRUCTION = "pick up the red cube"


def untrained_checkpoint(
    folder: Path, contract: Contract, interface: dict[str, Any] | None = None, gentle: bool = False
) -> Path:
    """Write a checkpoint for `contract`, or one that says it was trained on `interface`.

    Its chunks are noise around where the robot is; `gentle` noise is one that a controller lets through.
    """
    tokenizer = Tokenizer.from_instructions([INSTRUCTION])
    slots = contract.slots
    config = preset(
        "tiny",
        cameras=len(contract.cameras),
        vocab_size=tokenizer.vocab_size,
        state_dim=len(slots),
        action_dim=len(slots),
    )
    spec = PolicySpec(
        cameras=tuple(contract.cameras),
        slots=slots,
        absolute_slots=("left_gripper", "right_gripper"),
        fps=10,
        horizon=config.horizon,
        execution_horizon=2,
        num_inference_steps=2,
        relative_knee=1.0,  # all but linear
        instructions=(INSTRUCTION,),
        interface=interface or contract.interface(),
        fingerprint=contract.fingerprint(),
    )
    one = Statistics(mean=(0.0,) * len(slots), std=(1.0,) * len(slots))
    std = 0.015 * load_robot(contract.robot).velocity if gentle else np.ones(len(slots))  # slots differ in their speed
    action = Statistics(mean=(0.0,) * len(slots), std=tuple(std.tolist()))
    normalization = Normalization(slots=slots, state=one, action=action, std_floor=1e-4)
    torch.manual_seed(0)
    weights = FlowPolicy(config).state_dict()
    save_checkpoint(folder, Checkpoint(config, spec, weights, normalization, tokenizer, contract.text))
    return folder
