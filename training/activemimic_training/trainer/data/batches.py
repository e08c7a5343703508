"""The batch of a step: a function of data, seed and step alone, so that a resumed run sees what it would have seen.

Axes: B batch, K noise draws, T horizon, A padded action width, D slots, X text tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from activemimic_policy.model.flow import sample_time
from activemimic_policy.model.flow_policy import ModelInputs
from activemimic_policy.model.model_config import ModelConfig
from activemimic_policy.normalization import Normalization
from activemimic_policy.spec import PolicySpec
from activemimic_policy.tokenizer import Tokenizer
from activemimic_policy.transforms import Sample, apply, input_steps, stack_cameras
from torch import Tensor

from activemimic_training.trainer.data.augment import augmented, relit
from activemimic_training.trainer.data.samples import TrainingData


@dataclass(frozen=True)
class Batch:
    """The arguments of FlowPolicy.loss, of a whole step or of the part of it that one process computes at once."""

    inputs: ModelInputs
    actions: Tensor  # (B, T, A)
    weight: Tensor  # (B, T, D or 1), what each number counts in the loss
    noise: Tensor  # (B, K, T, A)
    t: Tensor  # (B, K, T or 1), zero where the action is given
    share: float = 1.0  # of the whole step's weight; the shares of its parts add up to one


class Examples:
    """The rows of a dataset as the network's numbers."""

    def __init__(
        self,
        data: TrainingData,
        instructions: Sequence[str],
        tokenizer: Tokenizer,
        spec: PolicySpec,
        normalization: Normalization,
        model: ModelConfig,
    ) -> None:
        """`instructions` in the order of the data's task_index."""
        self.data, self._cameras, self._horizon = data, spec.cameras, model.horizon
        self._steps = input_steps(spec, normalization, model.image_px, model.action_width)
        self._texts = [tokenizer.encode(instruction, model.text_length) for instruction in instructions]
        self._starts = data.starts
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def row(self, draw: int, seed: int) -> int:
        """The row of a draw: every start of a chunk once an epoch, in an order drawn anew for each."""
        epoch, place = divmod(draw, len(self._starts))
        return int(self._order(epoch, seed)[place])

    def _shuffled(self, epoch: int, seed: int) -> npt.NDArray[np.int64]:
        return np.random.default_rng([seed, 0, epoch]).permutation(self._starts)

    def raw(self, rows: npt.NDArray[np.int64]) -> Sample:
        """Images, state (B, S) and actions (B, T, S) in slot units."""
        return self.data.chunks(rows, self._horizon)[0]

    def arrays(self, raw: Sample, rows: npt.NDArray[np.int64]) -> tuple[ModelInputs, Tensor]:
        """What the network is given for `raw`, and the normalised padded actions (B, T, A)."""
        sample = apply(self._steps, raw)
        texts, masks = zip(*(self._texts[task] for task in self.data.task_index[rows]), strict=True)
        assert sample.actions is not None
        cameras = np.ones((len(rows), len(self._cameras)), dtype=np.bool_)
        images = stack_cameras(sample, self._cameras)
        inputs = (images, cameras, np.stack(texts), np.stack(masks), sample.state)
        return ModelInputs(*(torch.from_numpy(array) for array in inputs)), torch.from_numpy(sample.actions)


class Batches:
    """Batches by step."""

    def __init__(
        self,
        examples: Examples,
        model: ModelConfig,
        batch_size: int,
        noise_draws: int,
        seed: int,
        slot_weights: Sequence[float] = (1.0,),
        max_delay_steps: int = 0,
        device: str = "cpu",
        parts: int = 1,
        augment: bool = False,
        relight: bool = False,
        others: Sequence[tuple[Examples, int]] = (),
    ) -> None:
        """`slot_weights` (D or 1,) in the loss; `parts` into which a batch is cut; `others` are co-trained, each
        with its number of rows of a batch.

        Raises ValueError.
        """
        if batch_size % parts:
            raise ValueError(f"batch_size: expected a multiple of {parts} (accumulate x processes), found {batch_size}")
        self.examples = examples
        own = batch_size - sum(count for _, count in others)
        self._sources = [(examples, own), *others]
        self._noise_shape = (noise_draws, model.horizon, model.action_width)
        self._slot_weights = np.asarray(slot_weights, dtype=np.float32)
        self._max_delay = max_delay_steps
        self._batch_size, self._seed, self._device = batch_size, seed, torch.device(device)
        self._part_size = batch_size // parts
        self._changes = [change for change, wanted in ((augmented, augment), (relit, relight)) if wanted]

    def at(self, step: int, part: int = 0) -> Batch:
        """A part of the batch of a step, both counted from zero."""
        sources = [(examples, self._drawn(examples, count, step)) for examples, count in self._sources]
        weights = np.concatenate([it.data.weights(rows, self._noise_shape[1]) for it, rows in sources])
        weight = torch.from_numpy(weights * self._slot_weights)
        # Drawn for the whole batch, so that it does not matter into how many parts it is cut.
        generator = torch.Generator().manual_seed(seed_of(self._seed, 1, step))
        noise = torch.randn(self._batch_size, *self._noise_shape, generator=generator)
        t = self._times(self._batch_size, generator)
        here = slice(part * self._part_size, (part + 1) * self._part_size)
        inputs, actions = self._arrays(sources, step, here)
        share = 1.0 if self._part_size == self._batch_size else _share(weight, t, here)
        actions, weight, noise, t = (x.to(self._device) for x in (actions, weight[here], noise[here], t[here]))
        return Batch(on_device(inputs, self._device), actions, weight, noise, t, share)

    def rows(self, step: int) -> npt.NDArray[np.int64]:
        """The dataset's rows (B less those of others,) at which the chunks of a step start."""
        return self._drawn(*self._sources[0], step)

    def _drawn(self, examples: Examples, count: int, step: int) -> npt.NDArray[np.int64]:
        return np.array([examples.row(step * count + i, self._seed) for i in range(count)])

    def _arrays(
        self, sources: Sequence[tuple[Examples, npt.NDArray[np.int64]]], step: int, here: slice
    ) -> tuple[ModelInputs, Tensor]:
        """What the network is given of the places `here` of a batch, in which the sources stand one after the other."""
        made = []
        first = 0
        for examples, rows in sources:
            low, high = max(here.start, first), min(here.stop, first + len(rows))
            if low < high:
                mine = rows[low - first : high - first]
                raw = examples.raw(mine)
                draws = step * self._batch_size + np.arange(low, high)
                for change in self._changes:
                    raw = replace(raw, images=change(raw.images, draws, self._seed))
                made.append(examples.arrays(raw, mine))
            first += len(rows)
        inputs = ModelInputs(*(torch.cat([getattr(it, field.name) for it, _ in made]) for field in fields(ModelInputs)))
        return inputs, torch.cat([actions for _, actions in made])

    def _times(self, rows: int, generator: torch.Generator) -> Tensor:
        """A time for each draw (B, K, T or 1).

        In half of the draws it is zero for the first 1 to max_delay_steps steps, as if they were given; the other half
        learns to answer freely, as after a start, when no chunk runs.
        """
        draws, horizon, _ = self._noise_shape
        t = sample_time(rows * draws, generator).unflatten(0, (rows, draws))
        t = t[..., None]
        if not self._max_delay:
            return t
        delay = torch.randint(1, self._max_delay + 1, (rows, draws, 1), generator=generator)
        given = torch.rand((rows, draws, 1), generator=generator) < 0.5
        return torch.where(given & (torch.arange(horizon) < delay), 0.0, t)


def _share(weight: Tensor, t: Tensor, here: slice) -> float:
    """How much of the weight by which FlowPolicy.loss divides a whole batch lies in a part of it."""
    counted = (weight[:, None] * (t > 0)[..., None]).double()
    return float(counted[here].sum() / counted.sum().clamp(min=1e-6))


def on_device(inputs: ModelInputs, device: torch.device) -> ModelInputs:
    """The same inputs, where the network is."""
    return ModelInputs(*(getattr(inputs, field.name).to(device) for field in fields(inputs)))


def seed_of(*key: int) -> int:
    """A generator's seed that depends on every number of the key."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))
