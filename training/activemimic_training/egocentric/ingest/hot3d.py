"""HOT3D-Clips: five seconds of Project Aria's view each, with camera and wrists as a motion capture saw them.

In: the dataset's tar files. Out: folders of frames that `ego run` reads, upright, and the truth that `ego evaluate`
holds their result against. The format: https://github.com/facebookresearch/hot3d/tree/main/hot3d/clips.

Wrists are UmeTrack's, whose origin is the wrist. MANO's is not: its joint lies off by what its shape model says, ten
centimetres, and that model may not be passed on.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from activemimic_description.common.atomic import write_text

from activemimic_training.egocentric.ingest.item import DATASET
from activemimic_training.egocentric.ingest.source_video import TIMESTAMPS
from activemimic_training.egocentric.spatial import fisheye624
from activemimic_training.egocentric.spatial.calibration import Calibration
from activemimic_training.egocentric.spatial.geometry import Floats, rot6d, rotation, transform
from activemimic_training.egocentric.spatial.pose_trajectory import HANDS, STEP_NS, EgoTrajectory
from activemimic_training.egocentric_error import EgocentricError

RGB = "214-1"  # the stream of Aria's colour camera
_IN_VIEW = 0.1  # visible share from which a hand counts as seen, as the dataset's own crops do
# Aria's camera lies on its side: turned clockwise, what was up is right.
_T_STORED_UPRIGHT = transform(np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]), np.zeros(3))
# An EXIF segment that says: show it turned clockwise by 90 degrees. So the image is not compressed anew.
_CLOCKWISE = bytes.fromhex("ffe100224578696600004d4d002a00000008000101120003000000010006000000000000")


@dataclass(frozen=True)
class _Frame:
    """`image`: as it is stored, on its side; poses are upright already; `seen`: which hands (2,)."""

    time_ns: int
    image: bytes
    T_world_camera: Floats
    T_world_wrist: Floats
    seen: tuple[bool, bool]


def convert(archives: Iterable[Path], out: Path) -> Iterator[str | None]:
    """Write OUT/<clip>/ with frames, camera.json and timestamps.csv, OUT/truth/<clip>.npz and OUT/segments.json.

    Yields for every archive why it was left out, or None. Clips that are there are not made again.
    """
    (out / "truth").mkdir(parents=True, exist_ok=True)
    labels = out / "segments.json"
    for archive in archives:
        folder = out / archive.name.removesuffix(".tar")
        partial = out / f".{folder.name}.partial"
        try:
            if not folder.exists():
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir()
                label = _convert(archive, partial, out / "truth" / f"{folder.name}.npz")
                known = json.loads(labels.read_text(encoding="utf-8")) if labels.exists() else {}
                write_text(labels, json.dumps({**known, folder.name: [label]}, indent=1))
                os.replace(partial, folder)
            yield None
        except EgocentricError as error:
            shutil.rmtree(partial, ignore_errors=True)
            yield str(error)


def _convert(archive: Path, folder: Path, truth: Path) -> dict[str, Any]:
    """Returns the clip's segment. Raises EgocentricError."""
    try:
        with tarfile.open(archive) as tar:
            names = set(tar.getnames())
            frames = sorted(name.split(".")[0] for name in names if name.endswith(f".image_{RGB}.jpg"))
            if len(frames) < 2:
                raise EgocentricError(
                    f"{archive}: expected images of stream {RGB}, found {len(frames)}; clips of Quest 3 have no colour"
                )
            calibration = _calibration(_json(tar, f"{frames[0]}.cameras.json")[RGB]["calibration"])
            poses = [_frame(tar, names, frame) for frame in frames]
            objects = _json(tar, f"{frames[0]}.objects.json") if f"{frames[0]}.objects.json" in names else {}
    except (OSError, tarfile.TarError) as error:
        raise EgocentricError(f"{archive}: cannot be read: {error}") from None
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise EgocentricError(f"{archive}: expected a clip of HOT3D-Clips, found {error!r}") from None
    with (folder / TIMESTAMPS).open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "time_ns"])
        for frame, pose in zip(frames, poses, strict=True):
            (folder / f"{frame}.jpg").write_bytes(pose.image[:2] + _CLOCKWISE + pose.image[2:])
            rows.writerow([f"{frame}.jpg", pose.time_ns])
    (folder / "camera.json").write_text(calibration.model_dump_json(indent=1), encoding="utf-8")
    (folder / DATASET).write_text("HOT3D\n", encoding="utf-8")
    trajectory = _trajectory(poses)
    trajectory.save(truth)
    return _label(objects, float(trajectory.time_ns[-1] + STEP_NS) / 1e9)


def _frame(tar: tarfile.TarFile, names: set[str], frame: str) -> _Frame:
    camera = _json(tar, f"{frame}.cameras.json")[RGB]
    hands = _json(tar, f"{frame}.hands.json") if f"{frame}.hands.json" in names else {}  # test clips have none
    wrists, seen = np.full((2, 4, 4), np.nan), [False, False]
    for index, name in enumerate(HANDS):
        pose = (hands.get(name) or {}).get("umetrack_pose")
        if pose:
            wrists[index] = _wrist(pose)
            seen[index] = float(hands[name].get("visibilities_modeled", {}).get(RGB, 1.0)) >= _IN_VIEW
    return _Frame(
        int(_json(tar, f"{frame}.info.json")["image_timestamps_ns"][RGB]),
        _read(tar, f"{frame}.image_{RGB}.jpg"),
        _pose(camera["T_world_from_camera"]) @ _T_STORED_UPRIGHT,
        wrists,
        (seen[0], seen[1]),
    )


def _trajectory(frames: list[_Frame]) -> EgoTrajectory:
    """Every tick has the pose of the frame nearest in time: it is that frame's image that an estimator sees."""
    times = np.array([frame.time_ns for frame in frames], np.int64)
    if (np.diff(times) <= 0).any():
        raise ValueError("image_timestamps_ns that do not ascend")
    times -= times[0]
    ticks = np.arange(0, times[-1] + 1, STEP_NS)
    chosen = [frames[int(np.abs(times - tick).argmin())] for tick in ticks]
    bodies = np.array([[frame.T_world_camera, *frame.T_world_wrist] for frame in chosen])
    return EgoTrajectory.of(ticks, bodies, observed=np.array([(True, *frame.seen) for frame in chosen]))


def _calibration(found: dict[str, Any]) -> Calibration:
    """Of the upright image. FISHEYE624 has one focal length or two before the principal point."""
    if not str(found["projection_model_type"]).endswith("FISHEYE624"):
        raise ValueError(f"projection_model_type {found['projection_model_type']}, where FISHEYE624 is known")
    values = [float(value) for value in found["projection_params"]]
    if len(values) == fisheye624.COEFFICIENTS + 3:
        values.insert(0, values[0])
    fx, fy, cx, cy, *coefficients = values
    return Calibration(
        model="fisheye624",
        width=found["image_height"],
        height=found["image_width"],
        fx=fy,
        fy=fx,
        cx=found["image_height"] - 1 - cy,
        cy=cx,
        distortion=tuple(fisheye624.turned_clockwise(np.array(coefficients)).tolist()),
    )


def _wrist(pose: dict[str, Any]) -> Floats:
    """The files say T_world_from_wrist, the documentation a 4x4 `wrist_xform`."""
    if "T_world_from_wrist" in pose:
        return _pose(pose["T_world_from_wrist"])
    T = np.array(pose["wrist_xform"], np.float64).reshape(4, 4)
    return transform(rotation(rot6d(T[:3, :3])), T[:3, 3])


def _pose(found: dict[str, Any]) -> Floats:
    q = np.array(found["quaternion_wxyz"], np.float64)
    w, x, y, z = q / np.linalg.norm(q)
    R = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return transform(R, np.array(found["translation_xyz"], np.float64))


def _label(objects: dict[str, Any], seconds: float) -> dict[str, Any]:
    found = [entry for entries in objects.values() for entry in (entries if isinstance(entries, list) else [entries])]
    names = sorted({str(entry["object_name"]).replace("_", " ") for entry in found if "object_name" in entry})
    names = names or ["objects"]
    return {
        "start": 0.0,
        "end": seconds,
        "action": "handle",
        "objects": names,
        "task": f"Handle the {', '.join(names)}",
    }


def _json(tar: tarfile.TarFile, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_read(tar, name))
    return found


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    if file is None:
        raise ValueError(f"{name} that is no file")
    return file.read()
