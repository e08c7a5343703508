"""Times runtimes on one network and holds their chunks against the eager float32 ones.

Every runtime is measured in a process of its own: two thread pools in one process slow each other down, and peak
memory is a process's.
"""

from __future__ import annotations

import multiprocessing
import platform
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from activemimic_policy.benchmark.roofline import DeviceLimits, inference_work, measured_limits, timed_s
from activemimic_policy.checkpoint import ONNX, load_checkpoint
from activemimic_policy.model.flow_policy import FlowPolicy, ModelInputs
from activemimic_policy.model.model_config import ModelConfig, preset
from activemimic_policy.runtime.eager import EagerRuntime
from activemimic_policy.runtime.onnx_export import export_onnx, random_moment, relative_error
from activemimic_policy.runtime.runtime import Runtime, check_runtime, make_runtime


@dataclass(frozen=True)
class Subject:
    """What is measured: a checkpoint's folder, or a preset's sizes with random weights."""

    checkpoint: Path | None
    config: ModelConfig
    num_inference_steps: int

    @classmethod
    def of_preset(cls, name: str, cameras: int, num_inference_steps: int, vocab_size: int = 64) -> Subject:
        """20 slots, as the G1 has. Raises KeyError for an unknown preset."""
        sizes = {"cameras": cameras, "vocab_size": vocab_size, "state_dim": 20, "action_dim": 20}
        return cls(None, preset(name, **sizes), num_inference_steps)

    @classmethod
    def of_checkpoint(cls, folder: Path) -> Subject:
        """Raises CheckpointError."""
        checkpoint = load_checkpoint(folder)
        return cls(folder, checkpoint.model, checkpoint.spec.num_inference_steps)

    def model(self, device: str = "cpu") -> FlowPolicy:
        """The network in float32. Random weights include the head's, which otherwise begins at zero."""
        torch.manual_seed(0)
        with torch.device(device):
            model = FlowPolicy(self.config)
        if self.checkpoint is None:
            torch.nn.init.normal_(model.expert.velocity_out.weight, std=0.02)
        else:
            model.load_state_dict(load_checkpoint(self.checkpoint).weights)
        return model.eval().requires_grad_(False)


@dataclass(frozen=True)
class Latency:
    """Milliseconds."""

    median: float
    p95: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        return cls(*(float(np.percentile(seconds, share)) * 1e3 for share in (50, 95, 99)))


@dataclass(frozen=True)
class Measurement:
    """One runtime on one subject.

    `uncached` encodes the prefix anew at every step of the flow, as a policy without a cache would. `roofline_ms` is
    the bound of the whole inference on this device, `prefix_roofline_ms` and `step_roofline_ms` those of its parts.
    `error` is the largest difference to the eager float32 chunk, over its largest number.
    """

    runtime: str
    precision: str
    device: str
    prefix: Latency
    step: Latency
    whole: Latency
    uncached: Latency
    first_s: float  # the first inference: loading, compiling, capturing
    peak_memory_gb: float
    memory_of: str  # "process" or "CUDA allocator"
    error: float
    roofline_ms: float
    prefix_roofline_ms: float
    step_roofline_ms: float
    device_tflops: float
    device_gb_per_s: float

    @property
    def over_roofline(self) -> float:
        return self.whole.median / self.roofline_ms

    @property
    def cache_gain(self) -> float:
        return self.uncached.median / self.whole.median

    def as_dict(self) -> dict[str, Any]:
        """Plain data, with the ratios."""
        return asdict(self) | {"over_roofline": self.over_roofline, "cache_gain": self.cache_gain}


def measure(
    subject: Subject,
    runtimes: Sequence[tuple[str, str]],
    device: str,
    threads: int,
    runs: int,
    done: Callable[[Measurement], None] | None = None,
) -> list[Measurement]:
    """Measure (runtime, precision) pairs, one after the other.

    A preset's graphs for onnx are exported to a folder that is deleted again; a checkpoint must have its own.
    Raises RuntimeUnavailableError.
    """
    for name, precision in runtimes:
        check_runtime(name, device, precision)
    found = []
    context = multiprocessing.get_context("spawn")
    place = device if device.startswith("cuda") else "cpu"
    torch.set_num_threads(threads)
    # Once for all: what the machine does besides must not enter the ratios between runtimes.
    limits = {precision: measured_limits(place, precision) for precision in {pair[1] for pair in runtimes}}
    with TemporaryDirectory() as folder:
        exported = Path(folder) / ONNX if subject.checkpoint is None else subject.checkpoint / ONNX
        if subject.checkpoint is None and (asked := [precision for name, precision in runtimes if name == "onnx"]):
            export_onnx(subject.model(), subject.num_inference_steps, exported, "random weights", asked)
        for name, precision in runtimes:
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                job = pool.submit(
                    _measure_one, subject, name, precision, device, threads, runs, exported, limits[precision]
                )
                found.append(job.result())
            if done is not None:
                done(found[-1])
    return found


def system() -> dict[str, str]:
    """Where it was measured."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    cpu = platform.processor() or platform.machine()
    return {"cpu": cpu, "gpu": gpu, "torch": torch.__version__, "python": platform.python_version()}


def _measure_one(
    subject: Subject,
    name: str,
    precision: str,
    device: str,
    threads: int,
    runs: int,
    exported: Path,
    limits: DeviceLimits,
) -> Measurement:
    torch.set_num_threads(threads)
    inputs, noise = random_moment(subject.config)
    place = device if device.startswith("cuda") else "cpu"
    moved = type(inputs)(**{key: value.to(place) for key, value in vars(inputs).items()})
    noise = noise.to(place)
    with torch.inference_mode():
        model = subject.model(place)
        expected = EagerRuntime(model, subject.num_inference_steps).infer(moved, noise).cpu()
        begin = time.perf_counter()
        runtime = make_runtime(name, model, subject.num_inference_steps, device, precision, exported, threads)
        del model  # onnx has its own
        if place != "cpu":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        error = relative_error(runtime.infer(moved, noise), expected)
        first_s = time.perf_counter() - begin
        whole = timed_s(lambda: runtime.infer(moved, noise), runs, place)
        without = timed_s(
            lambda: infer_uncached(runtime, moved, noise, subject.num_inference_steps), max(runs // 4, 5), place
        )
        prefix = timed_s(lambda: runtime.encode(moved), runs, place)
        cache = runtime.encode(moved)
        steps = timed_s(lambda: runtime.denoise(cache, moved.state, noise), runs, place)
    peak = _peak_memory_bytes(place)
    work = inference_work(subject.config, precision)
    prefix_s = limits.seconds(work["vision"]) + limits.seconds(work["prefix"])
    step_s = limits.seconds(work["step"])
    return Measurement(
        runtime=name,
        precision=precision,
        device=device,
        prefix=Latency.of(prefix),
        step=Latency.of([seconds / subject.num_inference_steps for seconds in steps]),
        whole=Latency.of(whole),
        uncached=Latency.of(without),
        first_s=first_s,
        peak_memory_gb=peak / 1e9,
        memory_of="process" if place == "cpu" else "CUDA allocator",
        error=error,
        roofline_ms=(prefix_s + subject.num_inference_steps * step_s) * 1e3,
        prefix_roofline_ms=prefix_s * 1e3,
        step_roofline_ms=step_s * 1e3,
        device_tflops=limits.flops_per_s / 1e12,
        device_gb_per_s=limits.bytes_per_s / 1e9,
    )


def infer_uncached(runtime: Runtime, inputs: ModelInputs, noise: torch.Tensor, num_inference_steps: int) -> None:
    """The work of a policy that keeps nothing of the prefix: it is encoded for every step of the flow."""
    for _ in range(num_inference_steps - 1):
        runtime.encode(inputs)
    runtime.infer(inputs, noise)


def _peak_memory_bytes(device: str) -> float:
    if device == "cpu":
        # Not getrusage: its maximum is inherited from the process that started this one.
        status = Path("/proc/self/status").read_text()
        (peak_kib,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
        return 1024.0 * int(peak_kib)
    return float(torch.cuda.max_memory_allocated(device))
