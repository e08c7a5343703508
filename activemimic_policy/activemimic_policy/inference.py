"""From a checkpoint folder to chunks: load_policy once, then infer at every observation.

Axes: T horizon, S slots.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from activemimic_description.common.errors import InvalidInputError

from activemimic_policy.checkpoint import ONNX, WEIGHTS, Checkpoint, file_sha256, load_checkpoint
from activemimic_policy.model.flow import ActionPrefix, prefix_weights
from activemimic_policy.model.flow_policy import FlowPolicy, ModelInputs
from activemimic_policy.runtime.eager import EagerRuntime
from activemimic_policy.runtime.runtime import Runtime, RuntimeUnavailableError, make_runtime
from activemimic_policy.spec import PolicySpec
from activemimic_policy.tokenizer import TokenizerError
from activemimic_policy.transforms import Array, Sample, apply, input_steps, output_steps, stack_cameras


class PolicyInputError(InvalidInputError):
    """An observation or instruction the policy cannot act on; the message says which and what was expected."""


@dataclass(frozen=True, eq=False)
class InFlight:
    """The chunk that is executed while the next one is made, from the new observation on.

    Target k of `targets` (N, S), absolute, in slot units, is due at the new observation's stamp + (k + 1) / fps. The
    first `delay` of them will have been executed when the new chunk arrives.
    """

    targets: npt.NDArray[np.float64]
    delay: int


@dataclass(frozen=True)
class InferenceStages:
    """How long the parts of one `infer` took until the network's answer was on the host, in ms.

    On CUDA the prefix is timed on the device itself, which costs no waiting, and denoising is what remains until the
    answer is there: together they are the time that the network took.
    """

    preprocess_ms: float = 0.0
    prefix_ms: float = 0.0
    denoise_ms: float = 0.0


def load_policy(
    folder: Path | str,
    device: str = "cpu",
    threads: int | None = 1,
    seed: int | None = None,
    runtime: str = "eager",
    precision: str = "fp32",
    ablated_cameras: Collection[str] = (),
) -> Policy:
    """The policy of a checkpoint folder, ready to infer.

    `threads` sets torch's CPU threads for this whole process (None leaves them). `seed` fixes the noise that infer
    draws. `runtime` and `precision` are those of `runtime.make_runtime`; onnx runs what `activemimic policy export`
    has put into the folder. What `ablated_cameras` show is replaced by black, as the paper does to see which are used.

    Raises CheckpointError and RuntimeUnavailableError.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    folder = Path(folder)
    checkpoint = load_checkpoint(folder)
    if unknown := sorted(set(ablated_cameras) - set(checkpoint.spec.cameras)):
        cameras = ", ".join(checkpoint.spec.cameras)
        raise PolicyInputError(f"ablated_cameras {', '.join(unknown)}: the policy's cameras are {cameras}")
    exported = folder / ONNX if runtime == "onnx" else None
    if exported is not None:
        _check_export(folder, exported, checkpoint)
    model = FlowPolicy(checkpoint.model)
    model.load_state_dict(checkpoint.weights, strict=True)
    steps = checkpoint.spec.num_inference_steps
    return Policy(
        checkpoint,
        make_runtime(runtime, model, steps, device, precision, exported, threads),
        device,
        seed,
        ablated_cameras,
    )


class Policy:
    """A loaded policy: camera images, state and instruction in; a chunk of slot targets out.

    `stages` tells where the time of the last `infer` went.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        runtime: Runtime,
        device: str = "cpu",
        seed: int | None = None,
        ablated_cameras: Collection[str] = (),
    ) -> None:
        self.spec: PolicySpec = checkpoint.spec
        self.stages = InferenceStages()
        self._config = checkpoint.model
        self._tokenizer = checkpoint.tokenizer
        self._runtime = runtime
        self._device = torch.device(device if device.startswith("cuda") else "cpu")
        self._random = np.random.default_rng(seed)
        self._ablated = frozenset(ablated_cameras)
        self._input = input_steps(
            self.spec, checkpoint.normalization, checkpoint.model.image_px, checkpoint.model.action_width
        )
        self._output = output_steps(self.spec, checkpoint.normalization)

    @property
    def cameras(self) -> tuple[str, ...]:
        """The cameras it looks at: the spec's but for the zeroed ones, whose images need not be given."""
        return tuple(name for name in self.spec.cameras if name not in self._ablated)

    def infer(
        self,
        images: Mapping[str, npt.NDArray[np.uint8]],
        state: npt.ArrayLike,
        instruction: str,
        noise: npt.ArrayLike | None = None,
        in_flight: InFlight | None = None,
        guided: bool = False,
    ) -> npt.NDArray[np.float64]:
        """The next chunk of targets (T, S), absolute, in slot units.

        images: camera -> (H, W, 3) uint8 RGB, at least those of `cameras`, any size; state (S,) in slot units;
        noise (T, S): the flow's start, drawn when None (`spec.draw_noise`); in_flight: what the chunk shall go on from.
        A policy that was trained for it (`spec.max_delay_steps`) takes the decided targets for given; any other can be
        `guided`.

        Raises PolicyInputError.
        """
        begin = time.perf_counter()
        raw = Sample(
            {name: self._image(images, name) for name in self.spec.cameras},
            self._state(state)[None],
            None if in_flight is None else self._targets(in_flight, guided)[None],
        )
        start = torch.from_numpy(self._padded_noise(noise)).to(self._device)
        # Guidance takes gradients, which inference mode forbids for good.
        with torch.no_grad() if guided else torch.inference_mode():
            sample = apply(self._input, raw)
            inputs = self._inputs(sample, instruction)
            action_prefix = (
                None if in_flight is None or sample.actions is None else self._prefix(sample.actions, in_flight, guided)
            )
            ready = time.perf_counter()
            result, encoded = self._run(inputs, start, action_prefix, guided)
            normalised = result.cpu().double().numpy()
        prefix_ms, network_ms = encoded.ms(), (time.perf_counter() - ready) * 1e3
        self.stages = InferenceStages((ready - begin) * 1e3, prefix_ms, network_ms - prefix_ms)
        actions = apply(self._output, Sample({}, raw.state, normalised)).actions
        assert actions is not None
        return actions[0]

    def warm_up(self, runs: int = 3) -> float:
        """Infers on a black image a few times and returns the last run's milliseconds.

        The first run of a process is many times slower than the rest and must not enter a latency figure.
        """
        pixels = self._config.image_px
        images = {name: np.zeros((pixels, pixels, 3), np.uint8) for name in self.spec.cameras}
        elapsed_ms = 0.0
        for _ in range(runs):
            begin = time.perf_counter()
            self.infer(images, np.zeros(len(self.spec.slots)), self.spec.instructions[0])
            elapsed_ms = (time.perf_counter() - begin) * 1e3
        return elapsed_ms

    def _run(
        self, inputs: ModelInputs, noise: torch.Tensor, action_prefix: ActionPrefix | None, guided: bool
    ) -> tuple[torch.Tensor, _Stopwatch]:
        """The network's answer, and how long it took to encode the observation."""
        if guided and action_prefix is not None and not isinstance(self._runtime, EagerRuntime):
            raise PolicyInputError("guidance takes gradients through the network: only runtime eager can be guided")
        encoding = _Stopwatch(self._device)
        cache = self._runtime.encode(inputs)
        encoding.stop()
        if guided and action_prefix is not None and isinstance(self._runtime, EagerRuntime):
            return self._runtime.denoise_guided(cache, inputs.state, noise, action_prefix), encoding
        return self._runtime.denoise(cache, inputs.state, noise, action_prefix), encoding

    def _prefix(self, actions: Array, in_flight: InFlight, guided: bool) -> ActionPrefix:
        """actions (1, N, A), normalised, as the prefix of a whole chunk."""
        horizon, known = self.spec.horizon, actions.shape[1]
        padded = np.zeros((1, horizon, actions.shape[2]), dtype=np.float32)
        padded[:, :known] = actions
        overlap = known if guided else in_flight.delay
        weights = prefix_weights(in_flight.delay, overlap, horizon)[None]
        return ActionPrefix(torch.from_numpy(padded).to(self._device), weights.to(self._device))

    def _inputs(self, sample: Sample, instruction: str) -> ModelInputs:
        try:
            text, text_mask = self._tokenizer.encode(instruction, self._config.text_length)
        except TokenizerError as error:
            raise PolicyInputError(str(error)) from None
        arrays = (
            stack_cameras(sample, self.spec.cameras),
            np.ones((1, self._config.cameras), dtype=np.bool_),
            text[None],
            text_mask[None],
            sample.state,
        )
        return ModelInputs(*(torch.from_numpy(array).to(self._device) for array in arrays))

    def _image(self, images: Mapping[str, npt.NDArray[np.uint8]], name: str) -> npt.NDArray[np.uint8]:
        if name in self._ablated:
            return np.zeros((1, self._config.image_px, self._config.image_px, 3), np.uint8)
        if name not in images:
            raise PolicyInputError(
                f"camera {name!r} is missing: the policy needs {', '.join(self.cameras)}, "
                f"found {', '.join(images) or 'none'}"
            )
        image = np.asarray(images[name])
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise PolicyInputError(
                f"camera {name!r}: expected an RGB image (H, W, 3) of uint8, found {image.shape} of {image.dtype}"
            )
        return image[None]

    def _state(self, state: npt.ArrayLike) -> npt.NDArray[np.float64]:
        values = np.asarray(state, dtype=np.float64)
        slots = self.spec.slots
        if values.shape != (len(slots),):
            raise PolicyInputError(f"state: expected {len(slots)} slots, found an array of shape {values.shape}")
        if not np.isfinite(values).all():
            bad = ", ".join(f"{slots[i]} = {values[i]}" for i in np.flatnonzero(~np.isfinite(values)))
            raise PolicyInputError(f"state: expected finite numbers, found {bad}")
        return values

    def _targets(self, in_flight: InFlight, guided: bool) -> npt.NDArray[np.float64]:
        targets, delay = np.asarray(in_flight.targets, dtype=np.float64), in_flight.delay
        slots, horizon, most = len(self.spec.slots), self.spec.horizon, self.spec.max_delay_steps
        if targets.ndim != 2 or targets.shape[1] != slots or not 0 < len(targets) <= horizon:
            raise PolicyInputError(
                f"in_flight: expected 1 to {horizon} targets of {slots} slots, found {targets.shape}"
            )
        if not np.isfinite(targets).all():
            raise PolicyInputError("in_flight: expected finite targets, found NaN or infinity")
        if not 0 <= delay <= len(targets):
            raise PolicyInputError(f"in_flight: expected a delay of 0 to {len(targets)} steps, found {delay}")
        if not guided and delay > most:
            raise PolicyInputError(
                f"in_flight: a delay of {delay} steps, and this policy was trained for at most {most}; "
                "let it be guided, or train it with policy.max_delay_steps"
            )
        return targets

    def _padded_noise(self, noise: npt.ArrayLike | None) -> npt.NDArray[np.float32]:
        shape = (self.spec.horizon, len(self.spec.slots))
        values = self.spec.draw_noise(self._random) if noise is None else np.asarray(noise)
        if values.shape != shape:
            raise PolicyInputError(f"noise: expected shape {shape}, found {values.shape}")
        padded = np.zeros((1, shape[0], self._config.action_width), dtype=np.float32)
        padded[0, :, : shape[1]] = values
        return padded


class _Stopwatch:
    """Runs from its making to `stop`. On CUDA the device keeps the time: the host is far ahead of it."""

    def __init__(self, device: torch.device) -> None:
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if device.type == "cuda" else []
        if self._events:
            self._events[0].record()
        self._begin = self._end = time.perf_counter()

    def stop(self) -> None:
        if self._events:
            self._events[1].record()
        self._end = time.perf_counter()

    def ms(self) -> float:
        """On CUDA to be asked once a later result has come to the host."""
        if self._events:
            return float(self._events[0].elapsed_time(self._events[1]))
        return (self._end - self._begin) * 1e3


def _check_export(folder: Path, exported: Path, checkpoint: Checkpoint) -> None:
    from activemimic_policy.runtime.onnx import read_export

    about = read_export(exported)
    if (
        about.weights_sha256 != file_sha256(folder / WEIGHTS)
        or about.num_inference_steps != checkpoint.spec.num_inference_steps
    ):
        raise RuntimeUnavailableError(
            f"{exported}: was made of other weights or flow steps than the checkpoint has now; "
            "run `activemimic policy export` again"
        )
