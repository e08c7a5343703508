"""What is known of one episode, from whatever stages there are of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from activemimic_data.dataset.read import Dataset
from activemimic_data.dataset.video import VideoWriter, frame_count, read_frames

from activemimic_training.egocentric.episodes.corpus_export import CAMERA
from activemimic_training.egocentric.episodes.load import load_ego_rows
from activemimic_training.egocentric.poses.clip import Clip, clips
from activemimic_training.egocentric.poses.estimates import CameraEstimate, WristEstimate
from activemimic_training.egocentric.quality.quality import BODY_NAMES, Finding
from activemimic_training.egocentric.run.stages import read_stage, stage_folder
from activemimic_training.egocentric.run.status import read_manifest
from activemimic_training.egocentric.spatial.geometry import Floats, is_known, wrists_in_world
from activemimic_training.egocentric.spatial.pose_trajectory import FPS, EgoTrajectory, Flags
from activemimic_training.egocentric_error import EgocentricError


@dataclass(frozen=True)
class Layer:
    """Poses of camera, left and right wrist at the T frames of an episode, NaN where there is none.

    Attributes:
        bodies: (T, 3, 4, 4), absolute.
        confidence: (T, 3), 0 to 1, 0 where there is no pose.
        observed: (T, 3); False with a pose: it is interpolated.
    """

    bodies: Floats
    confidence: Floats
    observed: Flags

    @classmethod
    def empty(cls, frames: int) -> Layer:
        return cls(np.full((frames, 3, 4, 4), np.nan), np.zeros((frames, 3)), np.zeros((frames, 3), np.bool_))

    @property
    def valid(self) -> Flags:
        """(T, 3)."""
        return is_known(self.bodies)

    def shares(self) -> dict[str, dict[str, float]]:
        """Of each body's frames, how many were observed, interpolated and missing."""
        counted = {"observed": self.observed, "interpolated": self.valid & ~self.observed, "missing": ~self.valid}
        return {
            body: {name: float(flags[:, index].mean()) for name, flags in counted.items()}
            for index, body in enumerate(BODY_NAMES)
        }


@dataclass(frozen=True)
class EpisodeView:
    """T frames at 10 per second.

    Attributes:
        video: that holds the frames from `video_from_s` on.
        K: (3, 3) in pixels of the video; None: not known, nothing can be drawn on the images.
        estimate: as the pose stages gave it; None: not there yet.
        cleaned: after quality control; frames of no piece have no poses. None: not there yet.
        pieces: the episodes that quality control made of it, first and stop (exclusive).
        left_out: why a stage left the episode out, by stage.
    """

    name: str
    task: str
    video: Path
    video_from_s: float
    width: int
    height: int
    K: Floats | None
    time_ns: np.ndarray
    facts: dict[str, str]
    blurred: Flags
    cut_after: Flags
    estimate: Layer | None = None
    cleaned: Layer | None = None
    pieces: Sequence[tuple[int, int]] = ()
    findings: Sequence[Finding] = ()
    left_out: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.time_ns)

    @property
    def best(self) -> Layer:
        """What is shown: cleaned if there is something, else the estimate."""
        return self.cleaned or self.estimate or Layer.empty(len(self))

    def images(self) -> Iterator[np.ndarray]:
        """(H, W, 3) uint8 RGB, one a frame."""
        yield from read_frames(self.video, self.video_from_s, len(self))

    def film(self) -> bytes:
        """The frames as MP4; of a video that holds others too, only these."""
        if frame_count(self.video) == len(self):
            return self.video.read_bytes()
        with TemporaryDirectory() as folder:
            writer = VideoWriter(Path(folder) / "film.mp4", FPS, self.width, self.height)
            for image in self.images():
                writer.add(image)
            writer.close()
            return (Path(folder) / "film.mp4").read_bytes()


def load_episode(source: Path, name: str | None = None) -> EpisodeView:
    """An episode of a run (`name`: VIDEO_NUMBER), of an exported corpus (its number), or a stage's folder of one.

    Raises EgocentricError, DatasetError.
    """
    if (source / "meta/info.json").is_file():
        return _of_dataset(source, name)
    if name is None:
        run, name = _named_by_path(source)
        return _of_run(run, name)
    return _of_run(source, name)


def episode_names(run: Path) -> dict[str, str]:
    """The run's episodes by name, with the item of each. Raises EgocentricError."""
    found: dict[str, str] = {}
    for item in read_manifest(run)[0]:
        folder = stage_folder(run, item.id, "frames")
        if read_stage(folder) is not None:
            found |= {name: item.id for name in json.loads((folder / "episodes.json").read_text())["episodes"]}
    return found


def _named_by_path(path: Path) -> tuple[Path, str]:
    """RUN/items/<item>/<stage>/<episode> as run and episode."""
    parts = path.absolute().parts
    if len(parts) > 4 and parts[-4] == "items":
        return Path(*parts[:-4]), parts[-1]
    known = [*episode_names(path)]
    more = f" and {len(known) - 5} more" if len(known) > 5 else ""
    raise EgocentricError(f"{path}: expected the name of an episode as well, one of {', '.join(known[:5])}{more}")


def _of_run(run: Path, name: str) -> EpisodeView:
    names = episode_names(run)
    if name not in names:
        few = ", ".join([*names][:5]) or "none: stage frames has made none yet"
        raise EgocentricError(f"{run}: episode {name}: expected one of its {len(names)} ({few} …)")
    (item,) = (item for item in read_manifest(run)[0] if item.id == names[name])
    folders = {
        stage: stage_folder(run, item.id, stage) for stage in ("ingest", "frames", "wrists", "camera", "quality")
    }
    (clip,) = (clip for clip in clips(item, folders["ingest"], folders["frames"]) if clip.name == name)
    about = json.loads((clip.folder / "frames.json").read_text())
    camera = json.loads((folders["ingest"] / "camera.json").read_text())
    assumed = ", its field of view assumed" if camera["assumed"] else ""
    facts = {
        "video": str(item.source),
        "at": f"{clip.time_ns[0] / 1e9:.1f} s of it, {len(clip) / FPS:.1f} s long",
        "action": f"{about['action']}: {', '.join(about['objects'])}",
        "camera": f"{clip.width} x {clip.height}, focal length {clip.K[0, 0]:.0f} px, from {camera['source']}{assumed}",
    }
    quality = _quality(folders["quality"], clip)
    return EpisodeView(
        name,
        clip.task,
        clip.folder / "frames.mp4",
        0.0,
        clip.width,
        clip.height,
        clip.K,
        clip.time_ns,
        facts,
        clip.blurred,
        clip.cut_after,
        _estimate(folders, clip) or quality.get("raw"),
        quality.get("cleaned"),
        quality.get("pieces", ()),
        quality.get("findings", ()),
        {stage: why for stage in ("wrists", "camera", "quality") if (why := _left_out(folders[stage], name))},
    )


def _estimate(folders: dict[str, Path], clip: Clip) -> Layer | None:
    """What the pose stages gave; None without a camera."""
    place = folders["camera"] / clip.name / "camera.npz"
    if not place.exists():
        return None
    camera = CameraEstimate.load(place)
    wrists = WristEstimate.load(folders["wrists"] / clip.name / "wrists.npz")
    for path, found in ((place, camera), (place, wrists)):
        found.validate(path, len(clip))
    hands = wrists_in_world(camera.T_world_camera, wrists.T_camera_wrist)
    bodies = np.concatenate([camera.T_world_camera[:, None], hands], axis=1)
    confidence = np.column_stack([camera.confidence, wrists.confidence])
    return Layer(bodies, np.where(is_known(bodies), confidence, 0.0), is_known(bodies))


def _quality(stage: Path, clip: Clip) -> dict[str, Any]:
    """What quality control found and made; nothing where it has not been."""
    folder = stage / clip.name
    if not (folder / "quality.json").exists():
        return {}
    report = json.loads((folder / "quality.json").read_text(encoding="utf-8"))
    if report["frames"] != len(clip):
        raise EgocentricError(
            f"{folder / 'quality.json'}: frames: expected {len(clip)} (of stage frames), found {report['frames']}; "
            "bring the run up to date first"
        )
    pieces = [(episode["first"], episode["stop"]) for episode in report["episodes"]]
    return {
        "pieces": pieces,
        "findings": [Finding(**finding) for finding in report["findings"]],
        **{
            name: _joined([EgoTrajectory.load(folder / f"{number:03d}/{file}") for number in range(len(pieces))], clip)
            for name, file in (("cleaned", "trajectory.npz"), ("raw", "raw.npz"))
        },
    }


def _joined(parts: Sequence[EgoTrajectory], clip: Clip) -> Layer:
    """Trajectories of parts of a clip over all its frames."""
    layer = Layer.empty(len(clip))
    for part in parts:
        first = int(np.searchsorted(clip.time_ns, part.time_ns[0]))
        frames = slice(first, first + len(part))
        layer.bodies[frames], layer.confidence[frames] = part.bodies, part.bodies_confidence
        layer.observed[frames] = part.bodies_observed
    return layer


def _left_out(stage: Path, episode: str) -> str | None:
    try:
        left_out = json.loads((stage / "episodes.json").read_text())["left_out"]
    except FileNotFoundError:
        return None
    return next((str(it["reason"]) for it in left_out if it["episode"] == episode), None)


def _of_dataset(root: Path, name: str | None) -> EpisodeView:
    dataset = Dataset(root)
    count = len(dataset.episodes)
    if name is None or not name.isdecimal() or int(name) >= count:
        raise EgocentricError(f"{root}: expected the number of an episode, 0 to {count - 1}, found {name or 'none'}")
    rows, episode = load_ego_rows(dataset), dataset.episodes[int(name)]
    part = slice(episode.start, episode.stop)
    video, start_s = dataset.video(CAMERA, episode.index)
    size = dataset.interface["cameras"][CAMERA]
    layer = Layer(rows.bodies[part], rows.confidence[part].astype(np.float64), rows.observed[part])
    frames = episode.stop - episode.start
    nothing = np.zeros(frames, np.bool_)
    about = dataset.bags[episode.index]
    facts = {
        "corpus": str(root),
        "from": str(about["bag"]),
        "length": f"{frames / FPS:.1f} s",
        "camera": "a corpus keeps no K: nothing is drawn on its images",
    }
    times = dataset.column("observation_stamp_ns")[part]
    place = (video, start_s, size["width"], size["height"], None, times)
    return EpisodeView(
        f"episode {name}", episode.task, *place, facts, nothing, nothing, cleaned=layer, pieces=[(0, frames)]
    )
