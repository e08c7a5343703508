"""HDF5 files, read strictly: every failure names the file and the key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from activemimic_data.dataset.dataset_error import DatasetError


class Hdf5File:
    """An open file. `group` is put before every key."""

    def __init__(self, path: Path, file: Any, group: str = "") -> None:
        self.path, self._file, self._group = path, file, group

    def __contains__(self, key: str) -> bool:
        return self._group + key in self._file

    def keys(self, key: str) -> list[str]:
        """The names in a group. Raises DatasetError if there is none."""
        found = self._file.get(self._group + key)
        if found is None or not hasattr(found, "keys"):
            raise self.error(key, "missing; expected a group")
        return list(found.keys())

    def dataset(self, key: str, shape: tuple[int | None, ...]) -> Any:
        """The dataset itself, to be read by slices. `shape` has None where any length is right."""
        found = self._file.get(self._group + key)
        if found is None or not hasattr(found, "shape"):
            raise self.error(key, "missing; expected a dataset")
        fits = len(found.shape) == len(shape) and all(
            wanted in (None, length) for wanted, length in zip(shape, found.shape, strict=True)
        )
        if not fits:
            text = ", ".join("any" if wanted is None else str(wanted) for wanted in shape)
            raise self.error(key, f"expected shape ({text}), found {tuple(found.shape)}")
        return found

    def is_empty(self, key: str) -> bool:
        """Whether a dataset that must be there holds nothing."""
        found = self._file.get(self._group + key)
        if found is None or not hasattr(found, "shape"):
            raise self.error(key, "missing; expected a dataset, empty if there is nothing")
        return 0 in found.shape

    def array(self, key: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """All numbers of a dataset, float64. Raises DatasetError for another shape, NaN or infinity."""
        try:
            values = np.asarray(self.dataset(key, shape)[()], np.float64)
        except (OSError, ValueError, TypeError) as error:
            raise self.error(key, f"cannot be read: {error}") from None
        if not np.isfinite(values).all():
            place = ", ".join(map(str, np.argwhere(~np.isfinite(values))[0]))
            raise self.error(key, f"expected numbers, found {values[~np.isfinite(values)][0]} at [{place}]")
        return values

    def error(self, key: str, text: str) -> DatasetError:
        return DatasetError(f"{self.path}: {self._group}{key}: {text}")


@contextmanager
def open_hdf5(path: Path, group: str = "") -> Iterator[Hdf5File]:
    """Open a file to read. Raises DatasetError if it is damaged or h5py is missing."""
    try:
        import h5py  # an optional dependency
    except ModuleNotFoundError:
        raise DatasetError("importing needs h5py: pip install 'activemimic_data[import]'") from None
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DatasetError(f"{path}: cannot be opened as HDF5: {' '.join(str(error).split())}") from None
    with file:
        yield Hdf5File(path, file, group)
