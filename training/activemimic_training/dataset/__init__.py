"""Bags to a dataset and back out of it.

In: recorded episodes. Out: a LeRobotDataset folder with true stamps, statistics and the contract, read by
`read.Dataset`. Start with `align.py` (which rows an episode gives), then `assemble.py`.
"""

from activemimic_training.dataset.assemble import BuildResult, SkippedBag
from activemimic_training.dataset.build import build_dataset
from activemimic_training.dataset.errors import DatasetError
from activemimic_training.dataset.inspect import inspect_dataset, inspect_datasets
from activemimic_training.dataset.layout import FORMATS
from activemimic_training.dataset.read import Dataset, EpisodeRow

__all__ = [
    "FORMATS",
    "BuildResult",
    "Dataset",
    "DatasetError",
    "EpisodeRow",
    "SkippedBag",
    "build_dataset",
    "inspect_dataset",
    "inspect_datasets",
]
