"""From a checkpoint folder to chunks: load_policy once, then infer at every observation.

Axes: T horizon, S slots.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from activemimic_policy.checkpoint import Checkpoint, load_checkpoint
from activemimic_policy.model.flow_policy import FlowPolicy, ModelInputs
from activemimic_policy.spec import PolicySpec
from activemimic_policy.tokenizer import TokenizerError
from activemimic_policy.transforms import Sample, apply, input_steps, output_steps, stack_cameras


class PolicyInputError(ValueError):
    """An observation or instruction the policy cannot act on; the message says which and what was expected."""


def load_policy(folder: Path | str, device: str = "cpu", threads: int | None = 1, seed: int | None = None) -> Policy:
    """The policy of a checkpoint folder, ready to infer.

    `threads` sets torch's CPU threads for this whole process (None leaves them). `seed` fixes the noise that infer
    draws. Raises CheckpointError.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    return Policy(load_checkpoint(folder), device, seed)


class Policy:
    """A loaded policy: camera images, state and instruction in; a chunk of slot targets out."""

    def __init__(self, checkpoint: Checkpoint, device: str = "cpu", seed: int | None = None) -> None:
        self.spec: PolicySpec = checkpoint.spec
        self._config = checkpoint.model
        self._tokenizer = checkpoint.tokenizer
        self._device = torch.device(device)
        self._random = np.random.default_rng(seed)
        self._model = FlowPolicy(checkpoint.model)
        self._model.load_state_dict(checkpoint.weights, strict=True)
        self._model.to(self._device).eval().requires_grad_(False)
        self._input = input_steps(
            self.spec, checkpoint.normalization, checkpoint.model.image_px, checkpoint.model.action_width
        )
        self._output = output_steps(self.spec, checkpoint.normalization)

    def infer(
        self,
        images: Mapping[str, npt.NDArray[np.uint8]],
        state: npt.ArrayLike,
        instruction: str,
        noise: npt.ArrayLike | None = None,
    ) -> npt.NDArray[np.float64]:
        """The next chunk of targets (T, S), absolute, in slot units.

        images: camera -> (H, W, 3) uint8 RGB, at least the spec's cameras, any size; state (S,) in slot units;
        noise (T, S): the flow's start, drawn when None.

        Raises PolicyInputError.
        """
        raw = Sample({name: self._image(images, name) for name in self.spec.cameras}, self._state(state)[None])
        with torch.inference_mode():
            start = torch.from_numpy(self._padded_noise(noise)).to(self._device)
            inputs = self._inputs(raw, instruction)
            normalised = self._model.sample_actions(inputs, start, self.spec.flow_steps).cpu().double().numpy()
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

    def _inputs(self, raw: Sample, instruction: str) -> ModelInputs:
        try:
            text, text_mask = self._tokenizer.encode(instruction, self._config.text_length)
        except TokenizerError as error:
            raise PolicyInputError(str(error)) from None
        sample = apply(self._input, raw)
        arrays = (
            stack_cameras(sample, self.spec.cameras),
            np.ones((1, self._config.cameras), dtype=np.bool_),
            text[None],
            text_mask[None],
            sample.state,
        )
        return ModelInputs(*(torch.from_numpy(array).to(self._device) for array in arrays))

    def _image(self, images: Mapping[str, npt.NDArray[np.uint8]], name: str) -> npt.NDArray[np.uint8]:
        if name not in images:
            raise PolicyInputError(
                f"camera {name!r} is missing: the policy needs {', '.join(self.spec.cameras)}, "
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

    def _padded_noise(self, noise: npt.ArrayLike | None) -> npt.NDArray[np.float32]:
        shape = (self.spec.horizon, len(self.spec.slots))
        values = self._random.standard_normal(shape) if noise is None else np.asarray(noise)
        if values.shape != shape:
            raise PolicyInputError(f"noise: expected shape {shape}, found {values.shape}")
        padded = np.zeros((1, shape[0], self._config.action_width), dtype=np.float32)
        padded[0, :, : shape[1]] = values
        return padded
