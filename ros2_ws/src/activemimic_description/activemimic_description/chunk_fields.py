"""What a `trajectory_msgs/JointTrajectory` says, as plain numbers, and the check that makes it a `Chunk`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from activemimic_description.chunk import Chunk
from activemimic_description.codec import stamp_ns
from activemimic_description.common.errors import InvalidInputError
from activemimic_description.messages import Messages, header, stamp

NS = 1_000_000_000
TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
MAX_UNEVENNESS_NS = 1_000_000  # rounding of time_from_start, not jitter: a chunk is a grid by definition
MIN_STEP_NS = 2_000_000  # between two points: no robot is commanded more often


class ChunkRejectedError(InvalidInputError):
    """A chunk that must not move the robot. `kind` is the short name it is counted under."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True)
class ChunkFields:
    """A chunk as it came over the wire, not yet trusted."""

    stamp_ns: int  # time of the observation it answers
    slot_names: tuple[str, ...]
    times_ns: tuple[int, ...]  # of each point, counted from stamp_ns
    points: Sequence[Sequence[float]] | np.ndarray  # (T, S) if well formed


def read_trajectory(message: Any) -> ChunkFields:
    """Read a `trajectory_msgs/JointTrajectory` (of rclpy or of rosbags: the same attributes)."""
    return ChunkFields(
        stamp_ns=stamp_ns(message),
        slot_names=tuple(message.joint_names),
        times_ns=tuple(p.time_from_start.sec * NS + p.time_from_start.nanosec for p in message.points),
        points=[p.positions for p in message.points],
    )


def write_trajectory(chunk: Chunk, slot_names: Sequence[str], messages: Messages) -> Any:
    """The `trajectory_msgs/JointTrajectory` that says `chunk`; the inverse of reading and checking it."""
    points = [
        {"positions": positions, "time_from_start": stamp((k + 1) * chunk.step_ns)}
        for k, positions in enumerate(chunk.positions)
    ]
    return messages.make(TRAJECTORY, header=header(chunk.stamp_ns), joint_names=list(slot_names), points=points)


def fields_of(chunk: Chunk, slot_names: Sequence[str]) -> ChunkFields:
    """The fields of a chunk whose columns are in the order of `slot_names`."""
    times_ns = tuple((k + 1) * chunk.step_ns for k in range(len(chunk.positions)))
    return ChunkFields(chunk.stamp_ns, tuple(slot_names), times_ns, chunk.positions)


def check_fields(fields: ChunkFields, slot_names: Sequence[str]) -> Chunk:
    """Turn fields into a chunk with columns in the order of `slot_names`.

    Raises `ChunkRejectedError` if names, lengths, times or numbers are not those of a whole chunk; nothing is
    repaired, because half a chunk is a motion nobody planned.
    """
    order = _column_order(fields.slot_names, slot_names)
    if len(fields.points) == 0:
        raise ChunkRejectedError("lengths", "the chunk has no points")
    for k, point in enumerate(fields.points):
        if len(point) != len(slot_names):
            raise ChunkRejectedError(
                "lengths", f"point {k} has {len(point)} positions, expected {len(slot_names)} (one per slot)"
            )
    step_ns = _step_ns(fields.times_ns)
    positions = np.asarray(fields.points, dtype=np.float64)[:, order]
    bad = np.argwhere(~np.isfinite(positions))
    if len(bad):
        k, s = bad[0]
        raise ChunkRejectedError(
            "not_finite", f"{slot_names[s]} is {positions[k, s]} at point {k}; {len(bad)} such numbers in all"
        )
    return Chunk(stamp_ns=fields.stamp_ns, step_ns=step_ns, positions=positions)


def largest_message(slots: int, max_points: int) -> int:
    """Bytes of a serialised `trajectory_msgs/JointTrajectory` beyond which it cannot be a chunk of so many points.

    Room for positions, velocities, accelerations and efforts in every point, and for names of 256 characters.
    """
    return 4096 + slots * 272 + max_points * (4 * (8 * slots + 16) + 16)


def check_size(fields: ChunkFields, max_points: int, max_s: float) -> None:
    """To be asked before anything is computed from a chunk: the work for it grows with its length.

    Raises `ChunkRejectedError` if it has more points, or a later last point, than is allowed.
    """
    if len(fields.points) > max_points:
        raise ChunkRejectedError("lengths", f"{len(fields.points)} points, expected at most {max_points}")
    if fields.times_ns and max(fields.times_ns) > max_s * NS:
        longest_s = max(fields.times_ns) / NS
        raise ChunkRejectedError("times", f"it lasts {longest_s:.1f} s, expected at most {max_s:g} s")


def _column_order(found: Sequence[str], expected: Sequence[str]) -> list[int]:
    if len(found) > 2 * len(expected):  # what follows takes time
        raise ChunkRejectedError("slot_names", f"{len(found)} joint_names, expected the {len(expected)} slots")
    missing = sorted(set(expected) - set(found))
    unknown = sorted(set(found) - set(expected))
    repeated = sorted({name for name in found if found.count(name) > 1})
    faults = [
        f"{what} {', '.join(names)}"
        for what, names in (("missing", missing), ("unknown", unknown), ("repeated", repeated))
        if names
    ]
    if faults:
        raise ChunkRejectedError("slot_names", f"joint_names must be the {len(expected)} slots: {'; '.join(faults)}")
    return [list(found).index(name) for name in expected]


def _step_ns(times_ns: Sequence[int]) -> int:
    previous = 0
    for k, time_ns in enumerate(times_ns):
        if time_ns <= previous:
            raise ChunkRejectedError(
                "times", f"time_from_start of point {k} is {time_ns / NS:.4f} s, not after {previous / NS:.4f} s"
            )
        previous = time_ns
    step_ns = round(times_ns[-1] / len(times_ns))
    if step_ns < MIN_STEP_NS:
        found = f"points are {step_ns / NS:.6f} s apart"
        raise ChunkRejectedError("times", f"{found}, expected at least {MIN_STEP_NS / NS} s")
    for k, time_ns in enumerate(times_ns):
        if abs(time_ns - (k + 1) * step_ns) > MAX_UNEVENNESS_NS:
            raise ChunkRejectedError(
                "times",
                f"points must be evenly spaced from the stamp on: point {k} is at {time_ns / NS:.4f} s, "
                f"expected {(k + 1) * step_ns / NS:.4f} s",
            )
    return step_ns
