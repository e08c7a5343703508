"""How far the sampled actions are from the demonstrated ones, on episodes that are held out.

Axes: B batch, T horizon, A padded action width, D slots.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from activemimic_description.common.atomic import write_text
from activemimic_policy.normalization import Normalization
from activemimic_policy.spec import PolicySpec
from activemimic_policy.transforms import Sample, apply, output_steps

from activemimic_training.trainer.data.batches import Examples, on_device, seed_of
from activemimic_training.trainer.optimization.distributed import Ranks
from activemimic_training.trainer.optimization.network import Network, Sampling

FIGURES, ERRORS = "validation.csv", "validation_errors.csv"


@dataclass(frozen=True)
class Validation:
    """A look at step `step` (from one): what was measured then; None: not at that step."""

    step: int
    action_error: float | None = None  # mean over steps of the chunk and slots, in slot units
    success: float | None = None  # share of the simulated trials

    def better_than(self, other: Validation | None) -> bool:
        """The best has the highest success, and among equals (or without trials) the lowest action error."""
        if other is None:
            return True
        return self._rank() > other._rank()

    def _rank(self) -> tuple[float, float]:
        error = np.inf if self.action_error is None else self.action_error
        return (-1.0 if self.success is None else self.success, -error)


class Validator:
    """The same rows and the same noise at every look, so that two looks differ by the weights alone."""

    def __init__(
        self,
        examples: Examples,
        spec: PolicySpec,
        normalization: Normalization,
        action_width: int,
        batch_size: int,
        batches: int,
        seed: int,
        device: str,
    ) -> None:
        starts = examples.data.starts
        count = min(len(starts), batch_size * batches)
        self._rows = starts[np.linspace(0, len(starts) - 1, count).round().astype(np.int64)]
        self._examples, self._batch_size, self._device = examples, batch_size, torch.device(device)
        self._to_slots = output_steps(spec, normalization)
        self._noise_shape = (spec.horizon, action_width)
        self._seed = seed

    def action_error(self, network: Network, ranks: Ranks) -> npt.NDArray[np.float64]:
        """Mean absolute difference of sampled and demonstrated actions (T, D), in slot units; every process must ask.

        Numbers that no demonstration counts for are NaN.
        """
        total, count = self._sums(network, ranks.rank, ranks.count)
        summed = ranks.sum(torch.from_numpy(np.stack([total, count]))).cpu().numpy()
        return summed[0] / np.where(summed[1] > 0, summed[1], np.nan)

    @torch.no_grad()
    def _sums(self, network: Network, part: int, parts: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Of one of `parts` equal parts of the rows: summed differences, and how many there are, (T, D) each.

        Every part runs the network equally often; where rows run out it repeats some without counting them.
        """
        size = max(1, self._batch_size // parts)
        total: npt.NDArray[np.float64] = np.zeros((self._noise_shape[0], len(self._examples.data.state[0])))
        count = np.zeros_like(total)
        for first in range(0, len(self._rows), size * parts):
            places = first + part * size + np.arange(size)
            real = places < len(self._rows)
            rows = self._rows[places % len(self._rows)]
            raw = self._examples.raw(rows)
            inputs, _ = self._examples.arrays(raw, rows)
            work = Sampling(on_device(inputs, self._device), self._noise(places).to(self._device))
            normalised = network(work).cpu().double().numpy()
            made = apply(self._to_slots, Sample({}, raw.state, normalised)).actions
            assert made is not None
            assert raw.actions is not None
            counts = self._examples.data.counts(rows, self._noise_shape[0]) & real[:, None, None]
            total += (np.abs(made - raw.actions) * counts).sum(axis=0)
            count += counts.sum(axis=0)
        return total, count

    def _noise(self, places: npt.NDArray[np.int64]) -> torch.Tensor:
        seeds = [seed_of(self._seed, 2, int(place)) for place in places]
        return torch.stack([torch.randn(self._noise_shape, generator=torch.Generator().manual_seed(s)) for s in seeds])


class ValidationLog:
    """validation.csv (a look a row) and validation_errors.csv (a look and step of the chunk a row, a slot a column).

    A resumed run goes on in the same files, less what came after its checkpoint.
    """

    def __init__(self, folder: Path, slots: Sequence[str], done: int) -> None:
        self._folder = folder
        self.looks = [look for look in read_validations(folder / FIGURES) if look.step <= done]
        self._errors = [row for row in _rows(folder / ERRORS)[1:] if int(row[0]) <= done]
        self._head = ["step", "chunk_step", *slots]

    def add(self, look: Validation, errors: npt.NDArray[np.float64] | None, write: bool = True) -> None:
        """`errors` (T, D) in slot units; of several processes one writes."""
        self.looks.append(look)
        if not write:
            return
        if errors is not None:
            self._errors += [
                [str(look.step), str(k + 1), *(f"{value:.6g}" for value in row)] for k, row in enumerate(errors)
            ]
            _write(self._folder / ERRORS, [self._head, *self._errors])
        figures = [["" if value is None else repr(value) for value in asdict(it).values()] for it in self.looks]
        _write(self._folder / FIGURES, [list(asdict(look)), *figures])


def read_validations(path: Path) -> list[Validation]:
    """The looks of a validation.csv; none when there is no file."""
    return [
        Validation(int(step), *(float(value) if value else None for value in (error, success)))
        for step, error, success in _rows(path)[1:]
    ]


def _rows(path: Path) -> list[list[str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def _write(path: Path, rows: list[list[str]]) -> None:
    write_text(path, "".join(",".join(row) + "\n" for row in rows))
