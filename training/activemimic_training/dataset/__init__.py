"""Bags to a dataset and back out of it.

In: recorded episodes. Out: a LeRobotDataset v3.0 folder with true stamps, statistics and the contract, read by
`read.Dataset`. Start with `align.py` (which rows an episode gives), then `build.py`.
"""

from activemimic_training.dataset.build import BuildResult, SkippedBag, build_dataset
from activemimic_training.dataset.errors import DatasetError
from activemimic_training.dataset.inspect import inspect_dataset
from activemimic_training.dataset.read import Dataset, EpisodeRow

__all__ = [
    "BuildResult",
    "Dataset",
    "DatasetError",
    "EpisodeRow",
    "SkippedBag",
    "build_dataset",
    "inspect_dataset",
]
