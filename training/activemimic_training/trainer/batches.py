"""The batch of a step: a function of data, seed and step alone, so that a resumed run sees what it would have seen.

Axes: B batch, K noise draws, T horizon, A padded action width, D slots, X text tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from activemimic_policy.model.config import ModelConfig
from activemimic_policy.model.flow import sample_time
from activemimic_policy.model.flow_policy import ModelInputs
from activemimic_policy.normalization import Normalization
from activemimic_policy.spec import PolicySpec
from activemimic_policy.tokenizer import Tokenizer
from activemimic_policy.transforms import apply, input_steps, stack_cameras
from torch import Tensor

from activemimic_training.trainer.data import TrainingData


@dataclass(frozen=True)
class Batch:
    """The arguments of FlowPolicy.loss."""

    inputs: ModelInputs
    actions: Tensor  # (B, T, A)
    weight: Tensor  # (B, T, D or 1), what each number counts in the loss
    noise: Tensor  # (B, K, T, A)
    t: Tensor  # (B, K, T or 1), zero where the action is given


class Batches:
    """Batches by step: every start of a chunk once an epoch, in an order drawn anew for each."""

    def __init__(
        self,
        data: TrainingData,
        instructions: Sequence[str],
        tokenizer: Tokenizer,
        spec: PolicySpec,
        normalization: Normalization,
        model: ModelConfig,
        batch_size: int,
        noise_draws: int,
        seed: int,
        slot_weights: Sequence[float] = (1.0,),
        device: str = "cpu",
    ) -> None:
        """`instructions` in the order of the data's task_index; `slot_weights` (D or 1,) in the loss."""
        self._data, self._cameras = data, spec.cameras
        self._steps = input_steps(spec, normalization, model.image_px, model.action_width)
        self._texts = [tokenizer.encode(instruction, model.text_length) for instruction in instructions]
        self._noise_shape = (noise_draws, model.horizon, model.action_width)
        self._slot_weights = np.asarray(slot_weights, dtype=np.float32)
        self._max_delay = spec.max_delay_steps
        self._batch_size, self._seed, self._device = batch_size, seed, torch.device(device)
        self._starts = data.starts
        self._epoch = -1
        self._order: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def at(self, step: int) -> Batch:
        """The batch of a step, counted from zero."""
        rows = self._rows(step)
        horizon = self._noise_shape[1]
        raw, counts = self._data.chunks(rows, horizon)
        sample = apply(self._steps, raw)
        texts, masks = zip(*(self._texts[task] for task in self._data.task_index[rows]), strict=True)
        assert sample.actions is not None
        cameras = np.ones((len(rows), len(self._cameras)), dtype=np.bool_)
        generator = torch.Generator().manual_seed(_seed(self._seed, 1, step))
        noise = torch.randn(len(rows), *self._noise_shape, generator=generator)
        images = stack_cameras(sample, self._cameras)
        inputs = (images, cameras, np.stack(texts), np.stack(masks), sample.state)
        return Batch(
            ModelInputs(*(self._tensor(array) for array in inputs)),
            self._tensor(sample.actions),
            self._tensor(counts[..., None] * self._slot_weights),
            noise.to(self._device),
            self._times(len(rows), generator).to(self._device),
        )

    def _times(self, rows: int, generator: torch.Generator) -> Tensor:
        """A time for each draw (B, K, T or 1); zero for its first 0 to max_delay_steps steps, as if they were given."""
        draws, horizon, _ = self._noise_shape
        t = sample_time(rows * draws, generator).unflatten(0, (rows, draws))
        t = t[..., None]
        if not self._max_delay:
            return t
        delay = torch.randint(self._max_delay + 1, (rows, draws, 1), generator=generator)
        return torch.where(torch.arange(horizon) < delay, 0.0, t)

    def _tensor(self, array: npt.NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(self._device)

    def _rows(self, step: int) -> npt.NDArray[np.int64]:
        first = step * self._batch_size
        return np.array([self._row(first + i) for i in range(self._batch_size)])

    def _row(self, draw: int) -> int:
        epoch, place = divmod(draw, len(self._starts))
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng([self._seed, 0, epoch]).permutation(self._starts)
        return int(self._order[place])


def _seed(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))
