"""What stands in for a policy's network in tests of the runner."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import SimpleNamespace

import numpy as np
from activemimic_description.contract import load_contract
from activemimic_description.robot import load_robot
from activemimic_policy.inference import InferenceStages, InFlight, PolicyInputError

CONTRACT = load_contract("g1_sim")
HOME = load_robot("g1").home
MS = 1_000_000
T0 = 10**15


class FakePolicy:
    """Answers with the state it was given."""

    stages = InferenceStages(preprocess_ms=1.0, prefix_ms=20.0, denoise_ms=30.0)

    def __init__(self, max_delay_steps: int = 0, cameras: Collection[str] = CONTRACT.cameras) -> None:
        self.cameras = cameras
        self.spec = SimpleNamespace(
            step_ns=100 * MS,
            slots=CONTRACT.slots,
            absolute_slots=("left_gripper", "right_gripper"),
            max_delay_steps=max_delay_steps,
        )
        self.instructions: list[str] = []
        self.in_flight: list[tuple[InFlight | None, bool]] = []

    def infer(
        self,
        images: Mapping[str, np.ndarray],
        state: np.ndarray,
        instruction: str,
        noise: np.ndarray | None = None,
        in_flight: InFlight | None = None,
        guided: bool = False,
    ) -> np.ndarray:
        if instruction == "":
            raise PolicyInputError("an instruction without words")
        self.instructions.append(instruction)
        self.in_flight.append((in_flight, guided))
        assert set(images) == set(self.cameras)
        return np.tile(state, (16, 1))
