"""Time of one inference of a policy preset with random weights, for one and three cameras.

    python benchmarks/policy_inference.py [--preset tiny] [--threads 1] [--flow-steps 10] [--runs 100]

`cached` is what serving does: images and text are encoded once per chunk. `uncached` encodes them again at every
step of the flow, as a policy without a prefix cache would.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from activemimic_policy.checkpoint import Checkpoint, save_checkpoint
from activemimic_policy.inference import Policy, load_policy
from activemimic_policy.model.config import PRESETS, preset
from activemimic_policy.model.flow_policy import FlowPolicy, Prefix
from activemimic_policy.normalization import Normalization, Statistics
from activemimic_policy.spec import PolicySpec
from activemimic_policy.tokenizer import Tokenizer
from rich.console import Console
from rich.table import Table

INSTRUCTION = "pick up the red cube"
SLOTS = tuple(f"slot_{i}" for i in range(20))
CAMERA_PX = 224


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="tiny")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--flow-steps", type=int, default=10)
    parser.add_argument("--runs", type=int, default=100)
    arguments = parser.parse_args()

    title = f"{arguments.preset}, {arguments.flow_steps} flow steps, {arguments.threads} threads, ms"
    table = Table("cameras", "parameters", "cached median", "p90", "uncached median", "p90", "ratio", title=title)
    for cameras in (1, 3):
        checkpoint = random_checkpoint(arguments.preset, cameras, arguments.flow_steps)
        with tempfile.TemporaryDirectory() as folder:
            save_checkpoint(Path(folder) / "checkpoint", checkpoint)
            policy = load_policy(Path(folder) / "checkpoint", threads=arguments.threads, seed=0)
        cached = time_ms(inference(policy), arguments.runs)
        with_reencoding(policy)
        uncached = time_ms(inference(policy), arguments.runs)
        table.add_row(
            str(cameras),
            f"{sum(tensor.numel() for tensor in checkpoint.weights.values()):,}",
            *(f"{np.percentile(times, share):.1f}" for times in (cached, uncached) for share in (50, 90)),
            f"{np.median(cached) / np.median(uncached):.2f}",
        )
    Console().print(table)


def random_checkpoint(name: str, cameras: int, flow_steps: int) -> Checkpoint:
    tokenizer = Tokenizer.from_instructions([INSTRUCTION])
    config = preset(name, cameras=cameras, vocab_size=tokenizer.vocab_size, state_dim=len(SLOTS), action_dim=len(SLOTS))
    spec = PolicySpec(
        cameras=tuple(f"camera_{i}" for i in range(cameras)),
        slots=SLOTS,
        gripper_slots=SLOTS[-2:],
        fps=10,
        horizon=config.horizon,
        execute_steps=config.horizon // 2,
        flow_steps=flow_steps,
        relative_knee=0.02,
        instructions=(INSTRUCTION,),
        interface={},
        fingerprint="random weights",
    )
    unit = Statistics(mean=(0.0,) * len(SLOTS), std=(1.0,) * len(SLOTS))
    normalization = Normalization(slots=SLOTS, state=unit, action=unit)
    torch.manual_seed(0)
    return Checkpoint(config, spec, FlowPolicy(config).state_dict(), normalization, tokenizer, "name: none\n")


def inference(policy: Policy) -> Callable[[], object]:
    random = np.random.default_rng(0)
    shape = (CAMERA_PX, CAMERA_PX, 3)
    images = {name: random.integers(0, 256, shape, dtype=np.uint8) for name in policy.spec.cameras}
    return lambda: policy.infer(images, np.zeros(len(SLOTS)), INSTRUCTION)


def with_reencoding(policy: Policy) -> None:
    """Makes the policy encode its prefix anew at every step of the flow."""
    model = policy._model
    encode, velocity = model.encode_prefix, model.velocity
    inputs: list[object] = []

    def remember(new: object) -> Prefix:
        inputs[:] = [new]
        return encode(new)  # type: ignore[arg-type]

    def reencode(prefix: Prefix, *rest: torch.Tensor) -> torch.Tensor:
        return velocity(encode(inputs[0]), *rest)  # type: ignore[arg-type]

    model.encode_prefix, model.velocity = remember, reencode  # type: ignore[method-assign,assignment]


def time_ms(run: Callable[[], object], runs: int) -> np.ndarray:
    for _ in range(5):
        run()
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        run()
        times.append((time.perf_counter() - begin) * 1e3)
    return np.array(times)


if __name__ == "__main__":
    main()
