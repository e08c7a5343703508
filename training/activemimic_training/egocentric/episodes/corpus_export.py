"""Episodes of egocentric video as a dataset, in the layout that recordings of the robot have.

A row's state is what its camera sees of the wrists, its action the same one step later, both as unified actions in the
row's own camera frame. Chunks are not put together of those: the absolute poses stand in columns of their own, of which
`load.py` makes every chunk's targets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from activemimic_data.dataset.align import Cut
from activemimic_data.dataset.assemble import BuildResult, Identity, Progress, assemble, check_target
from activemimic_data.dataset.dataset_error import DatasetError
from activemimic_data.dataset.layout import FORMATS
from activemimic_data.dataset.stage import RecordingWriter, StagedRow, stage_key, staged
from activemimic_data.dataset.video import frame_count, read_frames
from activemimic_policy.transforms import fit_square
from activemimic_policy.unified_action import UNIFIED_SLOTS

from activemimic_training.egocentric.episodes.load import CONFIDENCE, OBSERVED, POSE, VALID
from activemimic_training.egocentric.episodes.targets import chunk_targets, states
from activemimic_training.egocentric.spatial.geometry import POSE_DIM
from activemimic_training.egocentric.spatial.pose_trajectory import FPS, STEP_NS, EgoTrajectory
from activemimic_training.egocentric_error import EgocentricError

CAMERA = "head"  # as the robot's own, so that what is learnt of one camera begins the other's training
MIN_SECONDS = 1.0
_NO_CONTRACT = (
    "# Egocentric video of people: there is no robot contract, and no policy trained on this drives a robot.\n"
)


@dataclass(frozen=True)
class EpisodeFiles:
    """An episode's parts.

    Attributes:
        name: one of its own in the corpus; VIDEO_NUMBER.
        trajectory: an EgoTrajectory's .npz.
        frames: a video at FPS.
        frames_start_ns: when its first image was taken, on the trajectory's clock.
        instruction: what is done.
    """

    name: str
    trajectory: Path
    frames: Path
    frames_start_ns: int
    instruction: str


def export_corpus(
    episodes: Sequence[EpisodeFiles],
    out: Path | str,
    image_px: int = 448,
    workers: int = 2,
    min_seconds: float = MIN_SECONDS,
    version: str = FORMATS[0],
    progress: Progress | None = None,
    source: dict[str, Any] | None = None,
) -> BuildResult:
    """Write the corpus at `out`; see `assemble` for what is resumed.

    Frames without a camera pose split an episode. An episode that cannot be read is left out and named in the result.

    Args:
        image_px: videos of any size become squares of it, black where they are not square.
        source: facts to keep with the dataset, such as which models made the poses, and their licences.

    Raises:
        DatasetError: `out` exists, two episodes have one name, or nothing could be converted.
    """
    out = Path(out)
    check_target(out, version)
    by_name = {episode.name: episode for episode in episodes}
    if len(by_name) < len(episodes):
        names = [episode.name for episode in episodes]
        twice = next(name for name in names if names.count(name) > 1)
        raise DatasetError(f"{out}: episode {twice}: expected one of the name, found {names.count(twice)}")
    interface = {
        "robot": "person",
        "slots": [
            {"name": slot, "unit": "m" if index % POSE_DIM < 3 else "1"} for index, slot in enumerate(UNIFIED_SLOTS)
        ],
        "cameras": {CAMERA: {"width": image_px, "height": image_px}},
    }
    facts = {"format": "egocentric", **(source or {})}
    convert = partial(_stage, episodes=by_name, image_px=image_px, min_seconds=min_seconds)
    identity = Identity(interface, _NO_CONTRACT, facts)
    recordings = [Path(name) for name in by_name]
    return assemble(recordings, out, FPS, convert, lambda _: identity, (), workers, version, progress)


def _stage(
    recording: Path, staging: Path, episodes: dict[str, EpisodeFiles], image_px: int, min_seconds: float
) -> Path:
    episode = episodes[str(recording)]
    for path in (episode.trajectory, episode.frames):
        if not path.is_file():
            raise DatasetError(f"{path}: missing; expected the {'poses' if path.suffix == '.npz' else 'frames'}")
    settings = (asdict(episode), image_px, min_seconds)
    key = stage_key(recording, settings, [episode.trajectory, episode.frames])

    def convert(folder: Path) -> None:
        try:
            trajectory = EgoTrajectory.load(episode.trajectory)
        except EgocentricError as error:
            raise DatasetError(str(error)) from None
        _write(episode, trajectory, folder, image_px, min_seconds)

    return staged(staging / key, convert)


def _write(episode: EpisodeFiles, trajectory: EgoTrajectory, folder: Path, image_px: int, min_seconds: float) -> None:
    first, rest = divmod(int(trajectory.time_ns[0]) - episode.frames_start_ns, STEP_NS)
    frames = frame_count(episode.frames)
    if rest or first < 0 or first + len(trajectory) > frames:
        raise DatasetError(
            f"{episode.frames}: expected an image for each of {len(trajectory)} frames from "
            f"{trajectory.time_ns[0]} ns on, found {frames} from {episode.frames_start_ns} ns on"
        )
    images = read_frames(episode.frames, first / FPS, len(trajectory))
    writer = RecordingWriter(folder, FPS, {CAMERA: (image_px, image_px)}, min_seconds)
    gap_ns: int | None = None
    for frame, (row, image) in enumerate(zip(_rows(trajectory), images, strict=True)):
        now_ns = int(trajectory.time_ns[frame])
        if not trajectory.camera_valid[frame]:
            gap_ns = now_ns if gap_ns is None else gap_ns
            continue
        if gap_ns is not None:
            writer.cut(Cut(gap_ns, now_ns, "no camera pose"))
            gap_ns = None
        writer.add(replace(row, images={CAMERA: fit_square(image, image_px)}))
    if gap_ns is not None:
        writer.cut(Cut(gap_ns, int(trajectory.time_ns[-1]) + STEP_NS, "no camera pose"))
    writer.close(episode.name, "egocentric", episode.instruction)


def _rows(trajectory: EgoTrajectory) -> Iterator[StagedRow]:
    """A row a frame, still without its image; one with no camera after it shows no step, and weighs none."""
    frames = np.arange(len(trajectory))
    bodies, valid = trajectory.bodies, trajectory.bodies_valid
    state = states(bodies, valid)
    following = chunk_targets(bodies, valid, np.full(len(frames), frames[-1]), frames, 1)[0][:, 0]
    steps = np.append(trajectory.camera_valid[1:], False)
    poses = np.where(valid[..., None, None], bodies, 0.0)[..., :3, :].reshape(len(frames), -1)
    for frame in frames:
        flags = (trajectory.bodies_observed[frame], valid[frame])
        columns = zip((CONFIDENCE, OBSERVED, VALID), (trajectory.bodies_confidence[frame], *flags), strict=True)
        yield StagedRow(
            stamp_ns=int(trajectory.time_ns[frame]),
            images={},
            state=state[frame],
            action=following[frame] if steps[frame] else state[frame],
            ages_ms={CAMERA: 0.0},
            loss_weight=float(steps[frame]),
            extra={POSE: poses[frame], **{name: values.astype(np.float32) for name, values in columns}},
        )
