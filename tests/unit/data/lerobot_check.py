"""Loads a dataset with LeRobot's own classes, in a process of its own, and prints what it found as JSON.

LeRobot imports torchvision and accelerate whether or not they are used, and decodes with torchcodec or torchvision.
None of them is needed to read a dataset: what is missing is replaced by empty modules and by PyAV.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import numpy as np


class StubModule(ModuleType):
    """Has an empty class under every name that is asked for."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def stub_missing(package: str, *modules: str) -> None:
    if importlib.util.find_spec(package) is not None:
        return
    for name in (package, *(f"{package}.{module}" for module in modules)):
        sys.modules[name] = StubModule(name)
        sys.modules[name].__spec__ = ModuleSpec(name, None)


def decode_with_pyav(path: Path, timestamps: list[float], tolerance_s: float, backend: str | None = None):
    import av
    import torch

    with av.open(str(path)) as container:
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    found = []
    for timestamp in timestamps:
        time_s, image = min(frames, key=lambda frame: abs(frame[0] - timestamp))
        assert abs(time_s - timestamp) < tolerance_s, f"{path}: no frame at {timestamp} s; nearest {time_s} s"
        found.append(image)
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).float() / 255


def main(root: str) -> None:
    import datasets  # noqa: F401 - before the stubs: it uses torchvision if it sees one

    stub_missing("torchvision", "transforms")
    stub_missing("accelerate", "utils")
    from lerobot.datasets import lerobot_dataset

    lerobot_dataset.decode_video_frames = decode_with_pyav
    dataset = lerobot_dataset.LeRobotDataset("local/check", root=root, delta_timestamps={"action": [0.0, 1 / 30]})
    from synthetic import image_number

    numbers: dict[str, list[int]] = {}
    for row in range(len(dataset)):
        item = dataset[row]
        for key in dataset.meta.video_keys:
            image = (item[key].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
            numbers.setdefault(key, []).append(image_number(image))
    item = dataset[30]
    print(
        json.dumps(
            {
                "rows": len(dataset),
                "episodes": dataset.meta.total_episodes,
                "task_of_row_30": item["task"],
                "state_of_row_30": item["observation.state"].tolist(),
                "actions_from_row_30": item["action"].tolist(),
                "numbers": numbers,
                "stats": sorted(dataset.meta.stats),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
