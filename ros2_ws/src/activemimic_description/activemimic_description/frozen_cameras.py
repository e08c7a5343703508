"""Cameras that repeat one frame with new stamps, as a driver does that hangs.

A real sensor has noise: where the contract says so (`sensor_noise`), the same bytes again and again are enough. An
image without noise stays the same while the camera stands still, and that proves nothing: there it is told by a robot
that moves before it. Afterwards, in a recording, that is; to hold a robot until it moves would be to hold it for ever.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from activemimic_description.contract import Contract
from activemimic_description.robot import load_robot

AFTER_S = 0.5  # of one and the same frame
MOVED = 0.05  # rad or m, of any joint that carries the camera


@dataclass
class _Frame:
    """The newest frame that differed from the one before it."""

    digest: int
    since_ns: int
    newest_ns: int
    posture: np.ndarray | None  # (S,) when it came


class FrozenCameras:
    """Looks at the bytes of every camera, or of `cameras`, and at the joints that carry it; `problems` names those
    that hang."""

    def __init__(self, contract: Contract, cameras: Collection[str] | None = None) -> None:
        robot = load_robot(contract.robot)
        parents = {joint.child: joint for joint in robot.joints}
        self._carried_by: dict[str, np.ndarray] = {}
        names = contract.cameras if cameras is None else cameras
        self._topics = {contract.cameras[name].topic: name for name in names}
        self._noisy = {name for name in names if contract.cameras[name].sensor_noise}
        for name in names:
            joints, link = set(), robot.cameras[name].link
            while link in parents:
                joints.add(parents[link].name)
                link = parents[link].parent
            self._carried_by[name] = np.array([slot.joint in joints for slot in robot.slots])
        self._frames: dict[str, _Frame] = {}
        self._posture: np.ndarray | None = None

    def add_image(self, topic: str, data: object, at_ns: int) -> None:
        """Take the bytes of an image message of `at_ns`: its stamp, or when it came. One of no camera is ignored."""
        if topic not in self._topics:
            return
        name, digest = self._topics[topic], zlib.crc32(data)  # type: ignore[arg-type]
        frame = self._frames.get(name)
        if frame is None or frame.digest != digest:
            self._frames[name] = _Frame(digest, at_ns, at_ns, self._posture)
        else:
            frame.newest_ns = at_ns
            if frame.posture is None:
                frame.posture = self._posture

    def add_state(self, posture: np.ndarray) -> None:
        """Take the measured robot vector (S,)."""
        self._posture = posture

    def clear(self) -> None:
        """Forget everything, as after a reset of the simulation."""
        self._frames.clear()

    def problems(self) -> list[str]:
        """A sentence for each camera that hangs."""
        found = []
        for name, frame in self._frames.items():
            same_s = (frame.newest_ns - frame.since_ns) / 1e9
            if same_s < AFTER_S:
                continue
            what = f"camera {name}: has shown one and the same frame for {same_s:.1f} s"
            if name in self._noisy:
                found.append(f"{what} under new stamps")
            elif (moved := self._moved(name, frame)) > MOVED:
                found.append(f"{what}, while the joints that carry it moved by {moved:.2f}")
        return found

    def _moved(self, name: str, frame: _Frame) -> float:
        """How far a joint that carries the camera moved while it showed the frame, in rad or m."""
        if frame.posture is None or self._posture is None:
            return 0.0
        return float(np.abs(self._posture - frame.posture)[self._carried_by[name]].max(initial=0.0))
