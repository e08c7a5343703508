"""A whole small checkpoint, in memory."""

import numpy as np
import pytest
from activemimic_policy.checkpoint import Checkpoint
from activemimic_policy.normalization import Normalization, Statistics
from activemimic_policy.spec import PolicySpec
from activemimic_policy.tokenizer import Tokenizer
from small_policy import INSTRUCTIONS, SLOTS, random_model, small_config


@pytest.fixture
def checkpoint() -> Checkpoint:
    random = np.random.default_rng(0)
    statistics = [
        Statistics(mean=tuple(random.normal(size=4).tolist()), std=tuple(random.uniform(0.1, 1, 4).tolist()))
        for _ in range(2)
    ]
    tokenizer = Tokenizer.from_instructions(INSTRUCTIONS)
    config = small_config(vocab_size=tokenizer.vocab_size)
    return Checkpoint(
        model=config,
        spec=PolicySpec(
            cameras=("head", "wrist"),
            slots=SLOTS,
            absolute_slots=("gripper",),
            fps=10,
            horizon=config.horizon,
            execution_horizon=3,
            num_inference_steps=4,
            relative_knee=0.02,
            instructions=INSTRUCTIONS,
            interface={"robot": "toy"},
            fingerprint="ab" * 32,
        ),
        weights=random_model(config).state_dict(),
        normalization=Normalization(slots=SLOTS, state=statistics[0], action=statistics[1]),
        tokenizer=tokenizer,
        contract_yaml="name: toy\n",
        training={"steps": 7},
    )
