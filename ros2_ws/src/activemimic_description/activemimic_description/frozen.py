"""Cameras that repeat one frame with new stamps, as a driver does that hangs: told by a robot that moves before them.

An image that stays the same proves nothing while the camera stands still: a simulator has no noise.
"""

from __future__ import annotations

import zlib
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
    """Looks at every camera's bytes and at the joints that carry it; `problems` says which camera hangs."""

    def __init__(self, contract: Contract) -> None:
        robot = load_robot(contract.robot)
        parents = {joint.child: joint for joint in robot.joints}
        self._carried_by: dict[str, np.ndarray] = {}
        self._topics = {camera.topic: name for name, camera in contract.cameras.items()}
        for name in contract.cameras:
            joints, link = set(), robot.cameras[name].link
            while link in parents:
                joints.add(parents[link].name)
                link = parents[link].parent
            self._carried_by[name] = np.array([slot.joint in joints for slot in robot.slots])
        self._frames: dict[str, _Frame] = {}
        self._posture: np.ndarray | None = None

    def add_image(self, topic: str, data: object, stamp_ns: int) -> None:
        """Take the bytes of an image message."""
        name, digest = self._topics[topic], zlib.crc32(data)  # type: ignore[arg-type]
        frame = self._frames.get(name)
        if frame is None or frame.digest != digest:
            self._frames[name] = _Frame(digest, stamp_ns, stamp_ns, self._posture)
        else:
            frame.newest_ns = stamp_ns
            if frame.posture is None:
                frame.posture = self._posture

    def add_state(self, posture: np.ndarray) -> None:
        """Take the measured robot vector (S,)."""
        self._posture = posture

    def clear(self) -> None:
        """Forget everything, as after a reset of the simulation."""
        self._frames.clear()

    def problems(self) -> list[str]:
        """A sentence for each camera that shows one frame while its joints have moved."""
        found = []
        for name, frame in self._frames.items():
            same_s = (frame.newest_ns - frame.since_ns) / 1e9
            if same_s < AFTER_S or frame.posture is None or self._posture is None:
                continue
            moved = np.abs(self._posture - frame.posture)[self._carried_by[name]].max(initial=0.0)
            if moved > MOVED:
                found.append(
                    f"camera {name}: has shown one and the same frame for {same_s:.1f} s, "
                    f"while the joints that carry it moved by {moved:.2f}"
                )
        return found
