"""Which parts of a trajectory can be learnt from, and what had to be done to them.

In: an estimated trajectory. Out: episodes, each with its raw trajectory beside the cleaned one, and what was found.
The order matters: the camera first, because a wrist is measured in its frame and moves with its mistakes.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, field_validator

from activemimic_training.egocentric.quality.repair import fill_gaps, plausible_runs, smoothed, swapped_hands
from activemimic_training.egocentric.spatial.geometry import Floats, inverse, is_known
from activemimic_training.egocentric.spatial.pose_trajectory import FPS, EgoTrajectory, Flags

BODY_NAMES = ("camera", "left_wrist", "right_wrist")


class Limits(BaseModel):
    """How fast a body may be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_speed_m_s: PositiveFloat
    max_turn_deg_s: PositiveFloat


class QualityConfig(BaseModel):
    """The rules; the limits are those EgoSmith publishes, a step of 0.2 m and 28 deg, a wrist's 0.3 m and 41 deg."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    camera: Limits = Limits(max_speed_m_s=2.0, max_turn_deg_s=280.0)
    wrist: Limits = Limits(max_speed_m_s=3.0, max_turn_deg_s=410.0)
    min_confidence: float = Field(0.2, ge=0, le=1, description="A pose trusted less is taken for not seen.")
    max_reach_m: PositiveFloat = Field(1.2, description="A wrist further from the camera is nobody's own.")
    max_gap_s: NonNegativeFloat = Field(0.5, description="Longer gaps are not filled; a camera's end the episode.")
    min_seconds: NonNegativeFloat = Field(2.0, description="Shorter episodes are left out.")
    min_hands_share: float = Field(0.5, ge=0, le=1, description="Of an episode's frames, with at least one hand.")
    max_scale_spread: PositiveFloat = Field(0.3, description="Relative, of the metric scale over an episode's frames.")
    smoothing_s: NonNegativeFloat = Field(0.3, description="Neighbours on either side that smooth a pose; 0: no one.")
    swapped_confidence: float = Field(0.5, ge=0, le=1, description="Factor for wrists that were exchanged.")
    blurred_confidence: float = Field(0.5, ge=0, le=1, description="Factor for all that is seen in a blurred image.")

    @field_validator("smoothing_s")
    @classmethod
    def _enough_for_a_parabola(cls, seconds: float) -> float:
        if 0 < round(seconds * FPS) < 2 or 0 < seconds < 1 / FPS:
            raise ValueError(f"expected 0 or at least {2 / FPS:g} s, two frames on either side, found {seconds:g}")
        return seconds


Kind = Literal[
    "low confidence",
    "out of reach",
    "swapped hands",
    "implausible speed",
    "gap",
    "jump",
    "cut",
    "unseen",
    "scale",
    "too short",
]
Done = Literal["dropped", "exchanged", "interpolated", "masked", "split", "left out"]


@dataclass(frozen=True)
class Finding:
    """What was found in the frames `first` to `stop` (exclusive) of one body, or of all, and what was done."""

    body: str
    kind: Kind
    done: Done
    first: int
    stop: int
    detail: str = ""


@dataclass(frozen=True)
class CleanEpisode:
    """The frames `first` to `stop` (exclusive) of the trajectory that was checked."""

    first: int
    stop: int
    trajectory: EgoTrajectory
    raw: EgoTrajectory

    def shares(self) -> dict[str, dict[str, float]]:
        """Of each body's frames, how many were observed, interpolated and missing."""
        observed, valid = self.trajectory.bodies_observed, self.trajectory.bodies_valid
        counted = {"observed": observed, "interpolated": valid & ~observed, "missing": ~valid}
        return {
            body: {name: float(flags[:, index].mean()) for name, flags in counted.items()}
            for index, body in enumerate(BODY_NAMES)
        }


@dataclass
class QualityResult:
    """The episodes that are left, in order, and all findings."""

    frames: int
    episodes: list[CleanEpisode] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def add(self, part: QualityResult, first: int) -> None:
        """Take over what a check found in the part of the trajectory that begins with frame `first`."""
        self.episodes += [replace(it, first=first + it.first, stop=first + it.stop) for it in part.episodes]
        self.findings += [replace(it, first=first + it.first, stop=first + it.stop) for it in part.findings]

    def report(self) -> dict[str, object]:
        """For a file: what every episode is made of, and every finding."""
        episodes = [
            {"first": it.first, "stop": it.stop, "seconds": (it.stop - it.first) / FPS, "shares": it.shares()}
            for it in self.episodes
        ]
        return {
            "frames": self.frames,
            "episodes": episodes,
            "findings": [asdict(it) for it in sorted(self.findings, key=lambda it: (it.first, it.stop))],
        }

    def write(self, folder: Path) -> None:
        """<number>/trajectory.npz and raw.npz for every episode, and quality.json."""
        for number, episode in enumerate(self.episodes):
            place = folder / f"{number:03d}"
            place.mkdir(parents=True)
            episode.trajectory.save(place / "trajectory.npz")
            episode.raw.save(place / "raw.npz")
        (folder / "quality.json").write_text(json.dumps(self.report(), indent=2) + "\n", encoding="utf-8")


def check_quality(
    trajectory: EgoTrajectory, config: QualityConfig | None = None, scale_spread: float | None = None
) -> QualityResult:
    """Clean `trajectory` and split it where it cannot be.

    A camera's long gap or jump and a wrist's jump end an episode; a wrist's long gap is masked, because hands do
    leave the view. `scale_spread` is that of the metric scale (Eq. 7), where the path needed one.
    """
    config = config or QualityConfig()
    check = _Check(trajectory, config)
    if scale_spread is not None and scale_spread > config.max_scale_spread:
        detail = f"spread {scale_spread:.2f}, at most {config.max_scale_spread:g}"
        check.note("all", "scale", "left out", 0, len(trajectory), detail)
        return check.result
    wrists_in_camera = check.exchange_swapped_hands()
    for first, stop in check.camera_stretches():
        check.wrists(first, stop, wrists_in_camera)
    return check.result


class _Check:
    """The state of one check: poses (T, 3, 4, 4), confidence and observed (T, 3) as they are cleaned."""

    def __init__(self, raw: EgoTrajectory, config: QualityConfig) -> None:
        self.raw, self.config = raw, config
        self.result = QualityResult(len(raw))
        self.poses, self.confidence = raw.bodies.copy(), raw.bodies_confidence.copy()
        self.observed = raw.bodies_observed.copy()
        self.max_gap = math.floor(config.max_gap_s * FPS + 1e-9)
        self.half_window = round(config.smoothing_s * FPS)
        seen = raw.bodies_valid
        self._drop(seen & (self.confidence < config.min_confidence), "low confidence")
        away = np.linalg.norm(self.poses[:, 1:, :3, 3] - self.poses[:, :1, :3, 3], axis=2)
        self._drop(np.column_stack([np.zeros(len(raw), np.bool_), away > config.max_reach_m]), "out of reach")

    def note(self, body: str, kind: Kind, done: Done, first: int, stop: int, detail: str = "") -> None:
        self.result.findings.append(Finding(body, kind, done, first, stop, detail))

    def exchange_swapped_hands(self) -> Floats:
        """Returns the wrists as the camera measured them, (T, 2, 4, 4), each under its own name."""
        in_camera = inverse(self.raw.T_world_camera)[:, None] @ self.poses[:, 1:]
        swapped = swapped_hands(self.poses[:, 1:], in_camera, self.max_gap)
        for values in (self.poses, self.confidence, self.observed):
            values[swapped, 1:] = values[swapped, :0:-1]
        self.confidence[swapped, 1:] *= self.config.swapped_confidence
        in_camera[swapped] = in_camera[swapped, ::-1]
        for first, stop in _ranges(swapped):
            self.note("wrists", "swapped hands", "exchanged", first, stop)
        return in_camera

    def camera_stretches(self) -> list[tuple[int, int]]:
        """Cleans the camera; returns the stretches, first and stop, in which it is everywhere known."""
        stretches: list[tuple[int, int]] = []
        for run in self._runs(0, 0, len(self.raw), self.config.camera):
            stretches += self._fill_and_smooth(0, int(run[0]), int(run[-1]) + 1)
        for (_, stop), (first, _) in itertools.pairwise(stretches):
            if first > stop:
                self.note("camera", "gap", "split", stop, first, f"{(first - stop) / FPS:.1f} s")
        known = np.zeros(len(self.raw), np.bool_)
        for first, stop in stretches:
            known[first:stop] = True
        for first, stop in _ranges(~known):
            self.poses[first:stop, 0] = np.nan
        return stretches

    def wrists(self, first: int, stop: int, in_camera: Floats) -> None:
        """Cleans the wrists of a stretch and adds the episodes that it makes."""
        measured = is_known(in_camera[first:stop])
        carried = self.poses[first:stop, :1] @ in_camera[first:stop]
        # They move with the camera in whose frame they were seen. Without one they stand where they were said to be.
        self.poses[first:stop, 1:] = np.where(measured[..., None, None], carried, self.poses[first:stop, 1:])
        cuts = {first, stop}
        for body in (1, 2):
            runs = self._runs(body, first, stop, self.config.wrist)
            cuts |= {int(run[0]) for run in runs[1:]}
        ordered = sorted(cuts)
        for start, end in itertools.pairwise(ordered):
            for body in (1, 2):
                self._fill_and_smooth(body, start, end)
            self._add(start, end)

    def _runs(self, body: int, first: int, stop: int, limits: Limits) -> list[np.ndarray]:
        """The plausible runs of a body; the frames in none of them are dropped."""
        valid = is_known(self.poses[first:stop, body])
        turn = math.radians(limits.max_turn_deg_s)
        runs = plausible_runs(self.poses[first:stop, body], valid, limits.max_speed_m_s, turn, self.max_gap)
        wrong = np.zeros(self.observed.shape, np.bool_)
        wrong[first:stop, body] = valid
        for run in runs:
            wrong[first + run, body] = False
        self._drop(wrong, "implausible speed")
        for before, after in itertools.pairwise(runs):
            self.note(BODY_NAMES[body], "jump", "split", int(first + before[-1]), int(first + after[0]))
        return [first + run for run in runs]

    def _fill_and_smooth(self, body: int, first: int, stop: int) -> list[tuple[int, int]]:
        """Fills a body's short gaps and smooths what stands between the long ones; returns those stretches."""
        poses, confidence, filled = fill_gaps(
            self.poses[first:stop, body], self.confidence[first:stop, body], self.max_gap
        )
        for start, end in _ranges(filled):
            self.note(BODY_NAMES[body], "gap", "interpolated", first + start, first + end)
        stretches = list(_ranges(is_known(poses)))
        for start, end in stretches:
            poses[start:end] = smoothed(poses[start:end], confidence[start:end], self.half_window)
        self.poses[first:stop, body], self.confidence[first:stop, body] = poses, confidence
        self.observed[first:stop, body] &= ~filled
        return [(first + start, first + end) for start, end in stretches]

    def _add(self, first: int, stop: int) -> None:
        seconds = (stop - first) / FPS
        part = slice(first, stop)
        hands = is_known(self.poses[part, 1:])
        share = float(hands.any(axis=1).mean())
        if seconds < self.config.min_seconds:
            detail = f"{seconds:.1f} s, at least {self.config.min_seconds:g}"
            self.note("all", "too short", "left out", first, stop, detail)
            return
        if share < self.config.min_hands_share:
            detail = f"a hand in {share:.0%} of the frames, at least {self.config.min_hands_share:.0%}"
            self.note("wrists", "unseen", "left out", first, stop, detail)
            return
        for hand, name in enumerate(BODY_NAMES[1:]):
            for start, end in _ranges(~hands[:, hand]):
                self.note(name, "unseen", "masked", first + start, first + end)
        cleaned = EgoTrajectory.of(self.raw.time_ns[part], self.poses[part], self.confidence[part], self.observed[part])
        self.result.episodes.append(CleanEpisode(first, stop, cleaned, self.raw.between(first, stop)))

    def _drop(self, wrong: Flags, kind: Kind) -> None:
        """Forget the poses (T, 3) that are `wrong`."""
        self.poses[wrong], self.confidence[wrong], self.observed[wrong] = np.nan, 0.0, False
        for body, name in enumerate(BODY_NAMES):
            for first, stop in _ranges(wrong[:, body]):
                self.note(name, kind, "dropped", first, stop)


def _ranges(flags: Flags) -> Iterator[tuple[int, int]]:
    """The stretches, first and stop, in which `flags` (T,) are set."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    yield from ((int(first), int(stop)) for first, stop in edges.reshape(-1, 2))
