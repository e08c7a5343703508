"""Estimated trajectories beside the true ones they belong to, frame by frame.

The camera is compared in the frame of the first camera that both have, the wrists in their frame's own camera.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from activemimic_training.egocentric.quality.metrics import PathErrors, PoseErrors
from activemimic_training.egocentric.spatial.geometry import Floats, inverse, is_known
from activemimic_training.egocentric.spatial.pose_trajectory import FPS, EgoTrajectory, Flags
from activemimic_training.egocentric_error import EgocentricError

FILE = "trajectory.npz"
Name = tuple[str, ...]


@dataclass(frozen=True)
class Piece:
    """The frames of a true trajectory that one estimated trajectory covers: poses (N, 3, 4, 4), NaN where none."""

    estimated: Floats
    truth: Floats
    frames: np.ndarray  # (N,) of the true trajectory


@dataclass(frozen=True)
class Compared:
    """A true episode with all that was estimated of it. Errors are of its T frames; bodies as BODY_NAMES."""

    name: str
    pieces: tuple[Piece, ...]
    frames: int
    errors: tuple[PoseErrors, ...]
    counted: Flags  # (T, 3): where there is a truth
    rotations: tuple[Floats, Floats]  # of the wrists in the camera, (T, 2, 3, 3): estimated and true
    paths: tuple[PathErrors, ...]  # a camera path a piece


def paired(predicted: Path, truth: Path) -> Iterator[tuple[str, Path, list[Path]]]:
    """Every true episode's name and file with the files of what was estimated of it.

    Each is a trajectory (.npz) or a folder with NAME.npz or NAME/trajectory.npz in it, or that of a run, whose names
    are its videos'. What is below a truth's NAME belongs to it, so that an episode may have been split.

    Raises EgocentricError: there is no such file, or none belongs to another.
    """
    truths, estimates = _trajectories(truth), _trajectories(predicted)
    pairs = [
        ("/".join(name) or truth.stem, path, [it for key, it in estimates.items() if key[: len(name)] == name])
        for name, path in truths.items()
    ]
    if not any(found for _, _, found in pairs):
        raise EgocentricError(
            f"{predicted}: no trajectory of an episode in {truth}; expected {_named(truths)}, found {_named(estimates)}"
        )
    yield from pairs


def trajectories(place: Path) -> list[Path]:
    """The files of a trajectory or a folder of them. Raises EgocentricError if there is none."""
    return list(_trajectories(place).values())


def compare(
    name: str, truth: EgoTrajectory, estimates: Sequence[EgoTrajectory], match_ms: float, relative_s: float
) -> Compared:
    """A true episode against what was estimated of it, in one piece or several.

    Args:
        match_ms: how far apart two frames of one time may be.
        relative_s: over which time relative pose errors are.
    """
    pieces = tuple(_piece(truth, estimated, match_ms) for estimated in estimates)
    made, true = np.full((2, len(truth), 3, 4, 4), np.nan)
    true[:, 0] = np.eye(4)  # an unmatched frame's only camera to compare with: it has no estimate
    true[:, 1:] = inverse(truth.T_world_camera)[:, None] @ truth.T_world_wrist
    for piece in pieces:
        both = np.flatnonzero(is_known(piece.estimated[:, 0]) & is_known(piece.truth[:, 0]))
        for into, poses in ((made, piece.estimated), (true, piece.truth)):
            in_camera = inverse(poses[:, 0])[:, None] @ poses[:, 1:]
            if len(both):
                into[piece.frames, 0] = inverse(poses[both[0], 0]) @ poses[:, 0]
            into[piece.frames, 1:] = in_camera
    counted = truth.bodies_valid & truth.camera_valid[:, None]
    step = max(1, round(relative_s * FPS))
    return Compared(
        name=name,
        pieces=pieces,
        frames=len(truth),
        errors=tuple(PoseErrors.of(made[:, body], true[:, body]) for body in range(3)),
        counted=counted,
        rotations=(made[:, 1:, :3, :3], true[:, 1:, :3, :3]),
        paths=tuple(PathErrors.of(_anchored(p.estimated, p), _anchored(p.truth, p), step) for p in pieces),
    )


def _trajectories(place: Path) -> dict[Name, Path]:
    """By name, the parts of a path; () for a single file."""
    if place.is_file():
        return {(): place}
    if not place.is_dir():
        raise EgocentricError(f"{place}: missing; expected a trajectory (.npz) or a folder of them")
    if (place / "manifest.json").is_file():  # of a run: what stage `quality` kept, by video, episode and piece
        kept = sorted(place.glob(f"items/*/quality/*/*/{FILE}"))
        if not kept:
            raise EgocentricError(f"{place}: no trajectory; expected a run that is through stage quality")
        return {(path.parts[-5], *path.parts[-3:-1]): path for path in kept}
    found = {}
    for path in sorted(place.rglob("*.npz")):
        parts = path.relative_to(place).parts
        if path.name == FILE:
            found[parts[:-1]] = path
        elif not (path.parent / FILE).exists():  # beside one lie its raw numbers
            found[(*parts[:-1], path.stem)] = path
    if not found:
        raise EgocentricError(f"{place}: no trajectory; expected NAME.npz or NAME/{FILE} in it")
    return found


def _piece(truth: EgoTrajectory, estimated: EgoTrajectory, match_ms: float) -> Piece:
    """The frames of `truth` from the first to the last that `estimated` has, each with its estimate."""
    nearest = np.searchsorted(estimated.time_ns, truth.time_ns - round(match_ms * 1e6))
    nearest = np.minimum(nearest, len(estimated) - 1)
    same = np.abs(estimated.time_ns[nearest] - truth.time_ns) <= match_ms * 1e6
    frames = np.flatnonzero(same)
    return Piece(estimated.bodies[nearest[frames]], truth.bodies[frames], frames)


def _anchored(poses: Floats, piece: Piece) -> Floats:
    """The cameras (N, 4, 4) as seen from the first that both have."""
    both = np.flatnonzero(is_known(piece.estimated[:, 0]) & is_known(piece.truth[:, 0]))
    return inverse(poses[both[0], 0]) @ poses[:, 0] if len(both) else np.full((len(poses), 4, 4), np.nan)


def _named(trajectories: dict[Name, Path]) -> str:
    names = ["/".join(key) or path.name for key, path in trajectories.items()]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
