"""Camera and wrists of one episode over time: what the pose stages write and everything after them reads."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from activemimic_description.common.atomic import file_beside

from activemimic_training.egocentric.spatial.geometry import Floats, is_known, is_rigid
from activemimic_training.egocentric_error import EgocentricError

FPS = 10
STEP_NS = 1_000_000_000 // FPS
HANDS = ("left", "right")

Flags = npt.NDArray[np.bool_]
Times = npt.NDArray[np.int64]


@dataclass(frozen=True)
class EgoTrajectory:
    """T frames on an exact grid of 10 per second, in metres; cameras are OpenCV (x right, y down, z forward).

    Attributes:
        time_ns: (T,) since the video began.
        T_world_camera: (T, 4, 4), NaN where not valid. The world is any frame that stands still for the episode.
        T_world_wrist: (T, 2, 4, 4), left and right, NaN where not valid.
        camera_confidence, wrist_confidence: (T,) and (T, 2), 0 to 1.
        camera_observed, wrist_observed: (T,) and (T, 2); False: the pose is not seen in this frame but interpolated.
        camera_valid, wrist_valid: (T,) and (T, 2); False: there is no pose.
    """

    time_ns: Times
    T_world_camera: Floats
    T_world_wrist: Floats
    camera_confidence: Floats
    wrist_confidence: Floats
    camera_observed: Flags
    wrist_observed: Flags
    camera_valid: Flags
    wrist_valid: Flags

    def __len__(self) -> int:
        return len(self.time_ns)

    @property
    def bodies(self) -> Floats:
        """The poses of camera, left and right wrist: (T, 3, 4, 4)."""
        return np.concatenate([self.T_world_camera[:, None], self.T_world_wrist], axis=1)

    @property
    def bodies_valid(self) -> Flags:
        """(T, 3), as `bodies`."""
        return np.column_stack([self.camera_valid, self.wrist_valid])

    @property
    def bodies_observed(self) -> Flags:
        """(T, 3), as `bodies`."""
        return np.column_stack([self.camera_observed, self.wrist_observed])

    @property
    def bodies_confidence(self) -> Floats:
        """(T, 3), as `bodies`."""
        return np.column_stack([self.camera_confidence, self.wrist_confidence])

    def between(self, first: int, stop: int) -> EgoTrajectory:
        """The frames `first` to `stop` (exclusive)."""
        return replace(self, **{field.name: getattr(self, field.name)[first:stop] for field in fields(self)})

    def at(self, time_ns: Times, name: Path | str = "trajectory") -> EgoTrajectory:
        """The frames at these consecutive times (T,). Raises EgocentricError, `name` first, if not all are there."""
        first = int(np.searchsorted(self.time_ns, time_ns[0]))
        part = self.between(first, first + len(time_ns))
        if not np.array_equal(part.time_ns, time_ns):
            raise EgocentricError(
                f"{name}: time_ns: expected {time_ns[0]} to {time_ns[-1]} ns, "
                f"found {self.time_ns[0]} to {self.time_ns[-1]} ns"
            )
        return part

    @classmethod
    def of(
        cls, time_ns: Times, bodies: Floats, confidence: Floats | None = None, observed: Flags | None = None
    ) -> EgoTrajectory:
        """From the poses of camera, left and right wrist (T, 3, 4, 4), NaN where there is none.

        Args:
            confidence: (T, 3); default: 1 wherever there is a pose. It is 0 wherever there is none.
            observed: (T, 3); default: all that there are.
        """
        valid = is_known(bodies)
        seen = valid if observed is None else observed & valid
        trust = np.where(valid, 1.0 if confidence is None else confidence, 0.0)
        poses = np.where(valid[..., None, None], bodies, np.nan).astype(np.float64)
        return cls(
            time_ns=time_ns.astype(np.int64),
            T_world_camera=poses[:, 0],
            T_world_wrist=poses[:, 1:],
            camera_confidence=trust[:, 0],
            wrist_confidence=trust[:, 1:],
            camera_observed=seen[:, 0],
            wrist_observed=seen[:, 1:],
            camera_valid=valid[:, 0],
            wrist_valid=valid[:, 1:],
        )

    def save(self, path: Path) -> None:
        """Write an .npz; beside it first, so that `path` is whole or not there. Raises EgocentricError if not valid."""
        self.validate(path)
        with file_beside(path) as partial:
            np.savez(partial, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> EgoTrajectory:
        """Read what `save` wrote. Raises EgocentricError."""
        names = [field.name for field in fields(cls)]
        try:
            with np.load(path, allow_pickle=False) as file:
                found = dict(file.items())
        except FileNotFoundError:
            raise EgocentricError(f"{path}: missing; expected a trajectory (.npz)") from None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise EgocentricError(f"{path}: cannot be read as a trajectory (.npz): {error}") from None
        if set(found) != set(names):
            missing, unknown = sorted(set(names) - set(found)), sorted(set(found) - set(names))
            raise EgocentricError(
                f"{path}: expected the fields of a trajectory; missing: {', '.join(missing) or 'none'}; "
                f"unknown: {', '.join(unknown) or 'none'}"
            )
        trajectory = cls(**found)
        trajectory.validate(path)
        return trajectory

    def validate(self, name: Path | str = "trajectory") -> None:
        """Raises EgocentricError naming the first field that is not what the class says, `name` first."""
        self._check_shapes(name)
        steps = np.diff(self.time_ns)
        if (wrong := np.flatnonzero(steps != STEP_NS)).size:
            frame = int(wrong[0])
            raise EgocentricError(
                f"{name}: time_ns: expected a grid of {STEP_NS} ns, found a step of {steps[frame]} ns "
                f"after frame {frame}"
            )
        for body in ("camera", "wrist"):
            poses, confidence = getattr(self, f"T_world_{body}"), getattr(self, f"{body}_confidence")
            valid, observed = getattr(self, f"{body}_valid"), getattr(self, f"{body}_observed")
            _refuse(name, f"T_world_{body}", "rigid transforms (m) where valid", valid & ~is_rigid(poses))
            absent = np.asarray(np.isnan(poses).all(axis=(-1, -2)))
            _refuse(name, f"T_world_{body}", "NaN where not valid", ~valid & ~absent)
            _refuse(name, f"{body}_observed", "False where not valid", observed & ~valid)
            _refuse(name, f"{body}_confidence", "numbers from 0 to 1", ~((confidence >= 0) & (confidence <= 1)))

    def _check_shapes(self, name: Path | str) -> None:
        frames = self.time_ns.shape[0] if self.time_ns.ndim == 1 else -1
        if frames < 1:
            raise EgocentricError(f"{name}: time_ns: expected (T,) with at least one frame, found {self.time_ns.shape}")
        kinds = {"T": np.float64, "confidence": np.float64, "ns": np.int64, "observed": np.bool_, "valid": np.bool_}
        for field in fields(self):
            values = getattr(self, field.name)
            shape = (frames, *((2,) if "wrist" in field.name else ()), *((4, 4) if field.name[0] == "T" else ()))
            kind = kinds["T" if field.name[0] == "T" else field.name.rsplit("_", 1)[-1]]
            if values.shape != shape or values.dtype != kind:
                expected, found = f"{shape} {np.dtype(kind)}", f"{values.shape} {values.dtype}"
                raise EgocentricError(f"{name}: {field.name}: expected {expected}, found {found}")


def _refuse(name: Path | str, field: str, expected: str, wrong: Flags) -> None:
    if wrong.any():
        frame, *hand = np.argwhere(wrong)[0].tolist()
        place = f"frame {frame}" + "".join(f", {HANDS[index]}" for index in hand)
        raise EgocentricError(f"{name}: {field}: expected {expected}; not so in {int(wrong.sum())}, first {place}")
