"""Bags to a dataset and back out of it.

In: recorded episodes. Out: a LeRobotDataset folder with true stamps, statistics and the contract, read by
`read.Dataset`. Start with `align.py` (which rows an episode gives), then `assemble.py`.
"""

from activemimic_data.dataset.assemble import BuildResult, SkippedBag
from activemimic_data.dataset.build import build_dataset
from activemimic_data.dataset.dataset_error import DatasetError
from activemimic_data.dataset.layout import FORMATS
from activemimic_data.dataset.read import Dataset, EpisodeRow

__all__ = [
    "FORMATS",
    "BuildResult",
    "Dataset",
    "DatasetError",
    "EpisodeRow",
    "SkippedBag",
    "build_dataset",
]
