"""AgiBot-World: recordings of the G1, an HDF5 file of states and actions and a video a camera for every episode.

SRC/task_info/task_<task>.json                             what was done
SRC/proprio_stats/<task>/<episode>/proprio_stats.h5        states and actions, a row a frame
SRC/observations/<task>/<episode>/videos/<camera>_color.mp4

Their videos are 640x480, squeezed from the cameras' 16:9; they are stretched to the sizes that the contract names.
Rows follow this project's rule: the action of a row is the newest command at the row after it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from activemimic_description.contract import Contract, load_contract
from activemimic_description.robot import load_robot

from activemimic_data.dataset.align import MAX_GAP_S, Cut
from activemimic_data.dataset.assemble import BuildResult, Identity, Progress, assemble, check_target
from activemimic_data.dataset.build import MIN_SECONDS
from activemimic_data.dataset.dataset_error import DatasetError
from activemimic_data.dataset.layout import FORMATS
from activemimic_data.dataset.stage import RecordingWriter, StagedRow, stage_key, staged
from activemimic_data.dataset.video import frame_count, read_frames
from activemimic_data.importers.hdf5 import Hdf5File, open_hdf5

SOURCE_FPS = 30
_FILE = "proprio_stats.h5"
_VIDEOS = {"head": "head_color", "left_wrist": "hand_left_color", "right_wrist": "hand_right_color"}
_BEYOND = 0.25  # of a slot's range: further outside its limits a value is of another unit
_ARMS = [f"{side}_arm_{joint}" for side in ("left", "right") for joint in range(1, 8)]


@dataclass(frozen=True)
class AgibotOptions:
    """How the numbers are to be read; the defaults are those of the dataset's own description.

    Attributes:
        contract: the robot contract whose cameras and slots the dataset shall have.
        gripper_open, gripper_closed: `state/effector/position` where the gripper is open and closed. The description
            says "mm of opening"; the data grow while it closes, from about 35 to 120 (OpenDriveLab/AgiBot-World#133).
        gripper_action: `action/effector/position` is 0 open to 1 closed ("fraction"); some recordings of the same
            robot hold the state's own numbers there ("raw").
        waist: the order of the waist's columns. One third-party replay lists lift before pitch.
        lift_unit: states are in metres; the vendor's commands in centimetres.
        head_unit: radians; degrees in some releases of the vendor's software.
    """

    contract: str = "g1_hal"
    gripper_open: float = 35.0
    gripper_closed: float = 120.0
    gripper_action: Literal["fraction", "raw"] = "fraction"
    waist: Literal["pitch-lift", "lift-pitch"] = "pitch-lift"
    lift_unit: Literal["m", "cm"] = "m"
    head_unit: Literal["rad", "deg"] = "rad"


def import_agibot_world(
    source: Path | str,
    out: Path | str,
    fps: int = SOURCE_FPS,
    options: AgibotOptions | None = None,
    workers: int = 2,
    max_gap_s: float = MAX_GAP_S,
    min_seconds: float = MIN_SECONDS,
    version: str = FORMATS[0],
    progress: Progress | None = None,
) -> BuildResult:
    """Convert every episode below `source` to a dataset at `out`; see `build_dataset` for what is left out and resumed.

    Args:
        fps: rows per second; a divisor of 30.

    Raises:
        DatasetError: `out` exists, there is no episode, or none could be converted.
        ContractError: there is no such contract.
    """
    source, out, options = Path(source), Path(out), options or AgibotOptions()
    if SOURCE_FPS % fps:
        raise DatasetError(f"fps {fps}: expected a divisor of {SOURCE_FPS}, the rate of the recordings")
    contract = load_contract(options.contract)
    _check_contract(contract)
    check_target(out, version)
    recordings = sorted(path.parent for path in source.glob(f"proprio_stats/*/*/{_FILE}"))
    if not recordings:
        raise DatasetError(f"{source}: no episode; expected proprio_stats/<task>/<episode>/{_FILE} below it")
    facts = {"format": "agibot-world", **asdict(options)}
    identity = Identity(contract.interface(), contract.text, facts)
    convert = partial(_stage, source=source, fps=fps, options=options, max_gap_s=max_gap_s, min_seconds=min_seconds)
    return assemble(recordings, out, fps, convert, lambda _: identity, (), workers, version, progress, source)


def _check_contract(contract: Contract) -> None:
    if contract.robot != "g1" or set(contract.cameras) != set(_VIDEOS):
        raise DatasetError(
            f"contract {contract.name}: expected one of robot g1 with the cameras {', '.join(_VIDEOS)}, "
            f"found robot {contract.robot} with {', '.join(contract.cameras)}"
        )


def _stage(
    recording: Path,
    staging: Path,
    source: Path,
    fps: int,
    options: AgibotOptions,
    max_gap_s: float,
    min_seconds: float,
) -> Path:
    videos = _videos(source, recording)
    key = stage_key(recording, (fps, options, max_gap_s, min_seconds), [recording / _FILE, *videos.values()])

    def convert(folder: Path) -> None:
        contract = load_contract(options.contract)
        task, instruction = _task(source, recording)
        with open_hdf5(recording / _FILE) as file:
            motion = _Motion.read(file, contract, options)
        sizes = {name: (camera.width, camera.height) for name, camera in contract.cameras.items()}
        writer = RecordingWriter(folder, fps, sizes, min_seconds)
        every = SOURCE_FPS // fps
        images = _images(videos, len(motion.stamp_ns))
        for found in motion.rows(every, max_gap_s, images):
            if isinstance(found, Cut):
                writer.cut(found)
            else:
                writer.add(replace(found, images=_stretched(found.images, sizes)))
        writer.close(f"{recording.parent.name}/{recording.name}", task, instruction)

    return staged(staging / key, convert)


@dataclass(frozen=True)
class _Motion:
    """An episode's numbers in slot units, a row a frame."""

    stamp_ns: np.ndarray  # (N,) int64
    state: np.ndarray  # (N, S)
    action: np.ndarray  # (N, S)
    commanded: np.ndarray  # (N,) bool: everything has been commanded by then

    @classmethod
    def read(cls, file: Hdf5File, contract: Contract, options: AgibotOptions) -> _Motion:
        stamp_ns = _stamps(file)
        count = len(stamp_ns)
        slots = contract.slots
        state, action = np.empty((count, len(slots))), np.empty((count, len(slots)))
        commanded = np.ones(count, bool)
        waist = options.waist.split("-")
        groups = {
            "joint": _ARMS,
            "head": ["head_yaw", "head_pitch"],
            "waist": [f"waist_{name}" for name in waist],
            "effector": ["left_gripper", "right_gripper"],
        }
        for group, names in groups.items():
            columns = [slots.index(name) for name in names]
            key = f"state/{group}/position"
            state[:, columns] = _in_slot_units(file.array(key, (count, len(names))), group, options, raw_gripper=True)
            _check_range(file, key, state[:, columns], names, contract.robot)
            action[:, columns], given = _commands(file, group, state[:, columns], options)
            _check_range(file, f"action/{group}/position", action[:, columns], names, contract.robot)
            commanded &= given
        for gripper in ("left_gripper", "right_gripper"):
            # Beyond open and closed by the sensor's own tolerance.
            for values in (state, action):
                np.clip(values[:, slots.index(gripper)], 0.0, 1.0, out=values[:, slots.index(gripper)])
        return cls(stamp_ns, state, action, commanded)

    def rows(self, every: int, max_gap_s: float, images: Iterator[dict[str, np.ndarray]]) -> Iterator[StagedRow | Cut]:
        """Every `every`-th frame as a row; a pause longer than `max_gap_s` between two frames is a cut."""
        breaks = np.flatnonzero(np.diff(self.stamp_ns) > max_gap_s * 1e9) + 1
        bounds = [0, *breaks.tolist(), len(self.stamp_ns)]
        for frame, shown in enumerate(images):
            segment = int(np.searchsorted(breaks, frame, side="right"))
            first, stop = bounds[segment], bounds[segment + 1]
            if segment and frame == first:
                before, after = self.stamp_ns[[frame - 1, frame]].tolist()
                pause_ms, limit_ms = (after - before) / 1e6, max_gap_s * 1e3
                yield Cut(before, after, f"no frame for {pause_ms:.0f} ms, limit {limit_ms:.0f} ms")
            following = frame + every
            # The last rows' action would be the command of a frame that there is not.
            if (frame - first) % every == 0 and following < stop:
                yield StagedRow(
                    int(self.stamp_ns[frame]),
                    shown,
                    self.state[frame],
                    self.action[following],
                    dict.fromkeys([*shown, _FILE], 0.0),
                    float(self.commanded[following]),
                )


def _stamps(file: Hdf5File) -> np.ndarray:
    stamps = file.dataset("timestamp", (None,))[()].astype(np.int64)
    if len(stamps) < 2:
        raise file.error("timestamp", f"expected at least 2 frames, found {len(stamps)}")
    steps_s = np.diff(stamps) / 1e9
    if (steps_s <= 0).any():
        at = int(np.flatnonzero(steps_s <= 0)[0])
        raise file.error("timestamp", f"expected growing stamps, found {stamps[at]} and then {stamps[at + 1]}")
    if abs(np.median(steps_s) * SOURCE_FPS - 1) > 0.1:
        raise file.error(
            "timestamp", f"expected ns at {SOURCE_FPS} frames per second, found {1 / np.median(steps_s):.3g} per second"
        )
    return stamps


def _commands(file: Hdf5File, group: str, state: np.ndarray, options: AgibotOptions) -> tuple[np.ndarray, np.ndarray]:
    """Commands (N, K) in slot units, and for which frames there has been one (N,).

    `action/<group>/index` says at which frames the given ones stand; in between the last one holds. A group that was
    never commanded, as head and waist in most tasks, stands where it is measured.
    """
    key, count = f"action/{group}/position", len(state)
    if file.is_empty(key):
        return state.copy(), np.ones(count, bool)
    given = _in_slot_units(file.array(key, (None, state.shape[1])), group, options, options.gripper_action == "raw")
    if len(given) == count:
        return given, np.ones(count, bool)
    if len(given) > count:
        raise file.error(key, f"expected at most {count} rows, one a frame, found {len(given)}")
    index = file.dataset(f"action/{group}/index", (len(given),))[()].astype(np.int64)
    if (np.diff(index) <= 0).any() or index[0] < 0 or index[-1] >= count:
        raise file.error(f"action/{group}/index", f"expected growing frame numbers below {count}")
    newest = np.searchsorted(index, np.arange(count), side="right") - 1
    return np.where((newest >= 0)[:, None], given[newest], state), newest >= 0


def _in_slot_units(values: np.ndarray, group: str, options: AgibotOptions, raw_gripper: bool) -> np.ndarray:
    if group == "effector" and raw_gripper:
        return (values - options.gripper_open) / (options.gripper_closed - options.gripper_open)
    if group == "head" and options.head_unit == "deg":
        return np.deg2rad(values)
    if group == "waist" and options.lift_unit == "cm":
        return values * np.where(np.array(options.waist.split("-")) == "lift", 0.01, 1.0)
    return values


def _check_range(file: Hdf5File, key: str, values: np.ndarray, names: list[str], robot: str) -> None:
    """Refuse numbers that no joint reaches: they are of another unit, or in another order."""
    slots = load_robot(robot).slot_index
    for column, name in enumerate(names):
        slot = load_robot(robot).slots[slots[name]]
        room = _BEYOND * (slot.upper - slot.lower)
        low, high = values[:, column].min(), values[:, column].max()
        if low < slot.lower - room or high > slot.upper + room:
            raise file.error(
                key,
                f"{name} goes from {low:.3g} to {high:.3g}, its limits are {slot.lower:.3g} to {slot.upper:.3g} "
                f"{slot.unit}: another unit or order of columns? See the options of this import",
            )


def _videos(source: Path, recording: Path) -> dict[str, Path]:
    folder = source / "observations" / recording.parent.name / recording.name / "videos"
    videos = {camera: folder / f"{name}.mp4" for camera, name in _VIDEOS.items()}
    for path in videos.values():
        if not path.is_file():
            raise DatasetError(f"{path}: missing; expected a video of every camera ({', '.join(_VIDEOS.values())})")
    return videos


def _images(videos: dict[str, Path], frames: int) -> Iterator[dict[str, np.ndarray]]:
    """The cameras' images as they are stored, a dictionary a frame."""
    for path in videos.values():
        if (found := frame_count(path)) != frames:
            raise DatasetError(f"{path}: expected {frames} frames, one for every row of {_FILE}, found {found}")
    decoded = [read_frames(path, 0.0, frames) for path in videos.values()]
    for images in zip(*decoded, strict=True):
        yield dict(zip(videos, images, strict=True))


def _stretched(images: Mapping[str, np.ndarray], sizes: dict[str, tuple[int, int]]) -> dict[str, np.ndarray]:
    """The images in the sizes (width, height) of the contract's cameras."""
    return {
        camera: np.asarray(cv2.resize(image, sizes[camera], interpolation=cv2.INTER_AREA))
        for camera, image in images.items()
    }


def _task(source: Path, recording: Path) -> tuple[str, str]:
    """The episode's task number and what was done, in words."""
    task = recording.parent.name
    path = source / "task_info" / f"task_{task}.json"
    try:
        entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        by_episode = {str(entry["episode_id"]): entry for entry in entries}
        return task, str(by_episode[recording.name]["task_name"])
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(f"{path}: cannot be read as a list of episodes: {error}") from None
    except KeyError as missing:
        raise DatasetError(f"{path}: {missing} missing; expected episode_id and task_name of every episode") from None
