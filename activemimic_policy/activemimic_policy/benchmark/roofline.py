"""The least time an inference can take: its floating-point operations and bytes over what the device does a second.

Activations are left out of the bytes: they stay in the caches where it matters. So no implementation is faster than
this bound, and a good one is within a small factor of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from activemimic_policy.model.flow_policy import FlowPolicy, ModelInputs
from activemimic_policy.model.model_config import ModelConfig

BYTES = {"fp32": 4, "bf16": 2, "int8": 1}
WARM_UP, REPEATS = 5, 10


@dataclass(frozen=True)
class Work:
    """What one call has to do."""

    flops: float  # a multiply-add counts as two
    bytes: float  # weights and cache read, once


@dataclass(frozen=True)
class DeviceLimits:
    """What was measured of a device: the best matrix product and the best copy."""

    flops_per_s: float
    bytes_per_s: float

    def seconds(self, work: Work) -> float:
        """The bound: the slower of computing and reading."""
        return max(work.flops / self.flops_per_s, work.bytes / self.bytes_per_s)


def inference_work(config: ModelConfig, precision: str) -> dict[str, Work]:
    """The work of `vision`, of the rest of the `prefix`, and of one `step`, for one observation.

    Counted by torch on a network without numbers (meta tensors), so that it is the network's own.
    """
    width = BYTES[precision]
    step_width = BYTES["fp32"] if precision == "int8" else width  # only the prefix is quantised
    with torch.device("meta"):
        model = FlowPolicy(config).eval()
        images = torch.zeros(1, config.cameras, config.image_px, config.image_px, 3)
        text = torch.zeros(1, config.text_length, dtype=torch.int64)
        state = torch.zeros(1, config.state_width)
        inputs = ModelInputs(images, torch.ones(1, config.cameras).bool(), text, text.bool(), state)
        noise, t = torch.zeros(1, config.horizon, config.action_width), torch.ones(1, 1)
        with torch.inference_mode():
            vision = _flops(lambda: model.vision(images))
            whole = _flops(lambda: model.encode_prefix(inputs))
            cache = model.encode_prefix(inputs)
            step = _flops(lambda: model.velocity(cache, state, noise, t))
    keys_and_values = 2 * config.depth * config.kv_heads * config.prefix_length * config.head_dim
    text_rows = config.text_length * config.prefix_width
    return {
        "vision": Work(vision, _numbers(model.vision) * width),
        "prefix": Work(whole - vision, (_numbers(model.prefix) + text_rows + keys_and_values) * width),
        "step": Work(step, (_numbers(model.expert) + keys_and_values) * step_width),
    }


def measured_limits(device: str, precision: str) -> DeviceLimits:
    """The device's limits, from large matrix products in the type that the network computes in and from copies."""
    on_gpu = device.startswith("cuda")
    side = 8192 if on_gpu else 1024
    # A CPU without units for bfloat16 is faster in float32, and a GPU in bfloat16: the limit is the best it can do.
    types = {torch.float32, torch.bfloat16} if precision == "bf16" else {torch.float32}
    flops_per_s = max(_product_flops_per_s(side, dtype, device) for dtype in types)
    source = torch.empty(2**28 if on_gpu else 2**26, dtype=torch.float32, device=device).zero_()
    target = torch.empty_like(source)
    copy_s = best_seconds(lambda: target.copy_(source), device)
    return DeviceLimits(flops_per_s, 2 * source.nbytes / copy_s)


def best_seconds(run: Callable[[], object], device: str) -> float:
    """The shortest of some runs: a limit is what the device can do, not what it does on average."""
    return min(timed_s(run, REPEATS, device))


def timed_s(run: Callable[[], object], runs: int, device: str) -> list[float]:
    """Seconds of each of `runs` calls, after a warm-up."""
    times_s = []
    for _ in range(WARM_UP + runs):
        synchronize(device)
        begin = time.perf_counter()
        run()
        synchronize(device)
        times_s.append(time.perf_counter() - begin)
    return times_s[WARM_UP:]


def synchronize(device: str) -> None:
    """Waits until a CUDA device has done what it was given; the CPU has already."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def _product_flops_per_s(side: int, dtype: torch.dtype, device: str) -> float:
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / best_seconds(lambda: torch.nn.functional.linear(a, b), device)


def _flops(run: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def _numbers(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
