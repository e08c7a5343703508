"""EgoMimic: demonstrations by a person or by its two-armed robot, all in one HDF5 file of robomimic's layout.

data/demo_<n>/obs/
    front_img_1, left_wrist_img, right_wrist_img   (N, H, W, 3) RGB images
    ee_pose           (N, 3) or (N, 6)     hand or gripper positions, m, in the front camera's frame
    joint_positions   (N, 7) or (N, 14)    the robot's alone: six joints, rad, and the gripper, for each arm
data/demo_<n>/
    actions_xyz_act   (N, T, 3 or 6)       where the hands will be, in row n's camera frame
    actions_joints_act (N, T, 7 or 14)     the robot's alone
mask/train, mask/valid                     names of demonstrations

A row's state is `joint_positions` and `ee_pose`, its action the first step of the next row's future. The whole futures
are kept in the column `action_chunk` (T x slots, step after step): a person's camera moves, so that futures of
different rows are in different frames and a chunk cannot be put together from the rows' actions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from activemimic_data.dataset.assemble import BuildResult, Identity, Progress, assemble, check_target
from activemimic_data.dataset.build import MIN_SECONDS
from activemimic_data.dataset.layout import FORMATS
from activemimic_data.dataset.stage import RecordingWriter, StagedRow, stage_key, staged
from activemimic_data.importers.hdf5 import Hdf5File, open_hdf5

_CAMERAS = {"front_img_1": "front", "left_wrist_img": "left_wrist", "right_wrist_img": "right_wrist"}
_ARM_JOINTS = 6
_NO_CONTRACT = "# Imported from EgoMimic: there is no robot contract, and no policy trained on this drives a robot.\n"


@dataclass(frozen=True)
class EgomimicOptions:
    """What the file does not say.

    Attributes:
        instruction: what is done in all of its demonstrations.
        fps: rows per second. Recordings with Aria glasses have 30, those of the robot 30 or 50.
        arm: whose data a file of one hand holds.
        image_order: of the colour channels; tools that write with OpenCV leave BGR.
        split: which demonstrations, by the file's masks.
    """

    instruction: str
    fps: int = 30
    arm: Literal["left", "right"] = "right"
    image_order: Literal["rgb", "bgr"] = "rgb"
    split: Literal["train", "valid", "all"] = "train"


@dataclass(frozen=True)
class _Shape:
    """What every demonstration of a file holds."""

    arms: tuple[str, ...]
    robot: bool
    horizon: int
    cameras: dict[str, tuple[int, int, int]]  # dataset's key -> height, width, channels

    def interface(self) -> dict[str, Any]:
        joints = [f"joint_{number}" for number in range(1, _ARM_JOINTS + 1)]
        slots = []
        for arm in self.arms if self.robot else ():
            slots += [{"name": f"{arm}_{joint}", "unit": "rad"} for joint in joints]
            slots.append({"name": f"{arm}_gripper", "unit": "raw"})
        slots += [{"name": f"{arm}_hand_{axis}", "unit": "m"} for arm in self.arms for axis in "xyz"]
        cameras = {_CAMERAS[key]: {"width": w, "height": h} for key, (h, w, _) in self.cameras.items()}
        return {"robot": "egomimic_robot" if self.robot else "egomimic_human", "slots": slots, "cameras": cameras}


def import_egomimic(
    source: Path | str,
    out: Path | str,
    options: EgomimicOptions,
    workers: int = 2,
    min_seconds: float = MIN_SECONDS,
    version: str = FORMATS[0],
    progress: Progress | None = None,
) -> BuildResult:
    """Convert the demonstrations of an HDF5 file to a dataset at `out`; see `build_dataset` for what is resumed.

    Raises:
        DatasetError: `out` exists, the file is none of EgoMimic's, its splits overlap, or nothing could be converted.
    """
    source, out = Path(source), Path(out)
    check_target(out, version)
    with open_hdf5(source) as file:
        demos = _chosen(file, options.split)
        shape = _shape(file, demos[0], options.arm)
        ignored = sorted(set(file.keys(f"data/{demos[0]}/obs")) - {*_CAMERAS, "ee_pose", "joint_positions"})
    facts = {"format": "egomimic", "file": source.name, **asdict(options), "ignored": ignored, "horizon": shape.horizon}
    identity = Identity(shape.interface(), _NO_CONTRACT, facts)
    convert = partial(_stage, shape=shape, options=options, min_seconds=min_seconds)
    recordings = [source / demo for demo in demos]
    return assemble(
        recordings, out, options.fps, convert, lambda _: identity, (), workers, version, progress, source.parent
    )


def _chosen(file: Hdf5File, split: str) -> list[str]:
    """The demonstrations of a split, in the order of their numbers."""
    demos = file.keys("data")
    unknown = [name for name in demos if not name.removeprefix("demo_").isdigit()]
    if unknown or not demos:
        raise file.error("data", f"expected demo_0, demo_1, …, found {unknown[0] if unknown else 'nothing'}")
    demos.sort(key=lambda name: int(name.removeprefix("demo_")))
    if split == "all":
        return demos
    masks = {name: _mask(file, name, demos) for name in ("train", "valid")}
    if both := sorted(masks["train"] & masks["valid"]):
        raise file.error(
            "mask", f"{', '.join(both)}: in both train and valid; expected disjoint splits. Split `all` ignores them"
        )
    return [demo for demo in demos if demo in masks[split]]


def _mask(file: Hdf5File, name: str, demos: list[str]) -> set[str]:
    key = f"mask/{name}"
    names = {entry.decode() if isinstance(entry, bytes) else str(entry) for entry in file.dataset(key, (None,))[()]}
    if missing := sorted(names - set(demos)):
        raise file.error(key, f"names {missing[0]}, which is not among the {len(demos)} demonstrations of data")
    if not names:
        raise file.error(key, "expected at least one demonstration, found none")
    return names


def _shape(file: Hdf5File, demo: str, arm: str) -> _Shape:
    obs = f"data/{demo}/obs"
    width = file.dataset(f"{obs}/ee_pose", (None, None)).shape[1]
    if width not in (3, 6):
        raise file.error(f"{obs}/ee_pose", f"expected 3 numbers for one hand or 6 for two, found {width}")
    keys = set(file.keys(obs))
    if "front_img_1" not in keys:
        raise file.error(f"{obs}/front_img_1", f"missing; found {', '.join(sorted(keys))}")
    cameras = {
        key: tuple(file.dataset(f"{obs}/{key}", (None, None, None, 3)).shape[1:]) for key in _CAMERAS if key in keys
    }
    horizon = file.dataset(f"data/{demo}/actions_xyz_act", (None, None, width)).shape[1]
    return _Shape(("left", "right") if width == 6 else (arm,), "joint_positions" in keys, horizon, cameras)


def _stage(recording: Path, staging: Path, shape: _Shape, options: EgomimicOptions, min_seconds: float) -> Path:
    source, demo = recording.parent, recording.name
    key = stage_key(recording, (shape, options, min_seconds), [source])

    def convert(folder: Path) -> None:
        sizes = {_CAMERAS[name]: (width, height) for name, (height, width, _) in shape.cameras.items()}
        writer = RecordingWriter(folder, options.fps, sizes, min_seconds)
        with open_hdf5(source, f"data/{demo}/") as file:
            for row in _rows(file, shape, options):
                writer.add(row)
        writer.close(f"{source.name}/{demo}", source.stem, options.instruction)

    return staged(staging / key, convert)


def _rows(file: Hdf5File, shape: _Shape, options: EgomimicOptions) -> Iterator[StagedRow]:
    """A demonstration's rows but the last, of which no command is known. Images are read one by one."""
    hands = 3 * len(shape.arms)
    parts = [("obs/ee_pose", "actions_xyz_act", hands)]
    if shape.robot:
        parts.insert(0, ("obs/joint_positions", "actions_joints_act", (_ARM_JOINTS + 1) * len(shape.arms)))
    count = len(file.dataset("obs/ee_pose", (None, hands)))
    state = np.hstack([file.array(key, (count, width)) for key, _, width in parts])
    future = np.concatenate([file.array(key, (count, shape.horizon, width)) for _, key, width in parts], axis=2)
    images = {key: file.dataset(f"obs/{key}", (count, *size)) for key, size in shape.cameras.items()}
    for key, dataset in images.items():
        if dataset.dtype != np.uint8:
            raise file.error(f"obs/{key}", f"expected uint8, found {dataset.dtype}")
    channels = slice(None, None, -1 if options.image_order == "bgr" else 1)
    for row in range(count - 1):
        shown = {
            _CAMERAS[key]: np.ascontiguousarray(_image(file, key, images[key], row)[..., channels]) for key in images
        }
        yield StagedRow(
            row * 1_000_000_000 // options.fps,
            shown,
            state[row],
            future[row + 1, 0],
            dict.fromkeys([*shown, "obs"], 0.0),
            extra={"action_chunk": future[row].ravel().astype(np.float32)},
        )


def _image(file: Hdf5File, key: str, dataset: Any, row: int) -> np.ndarray:
    try:
        return dataset[row]
    except OSError as error:
        raise file.error(f"obs/{key}", f"row {row} cannot be read: {error}") from None
