"""One synthetic egocentric video: what the head's camera sees, and where camera and wrists truly are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property, partial

import mujoco
import numpy as np

from activemimic_sim.egocentric.motion import LEFT, RIGHT, Person
from activemimic_sim.egocentric.room import CAMERA, HAND_BODIES, furnish
from activemimic_sim.egocentric.tasks import TASKS
from activemimic_sim.world.rendering import CameraRenderer

_AFTER_S = 0.6  # that a video goes on when all is done
_FOV_DEG = (62.0, 78.0)  # of the image's height: lenses differ
_TO_MUJOCO = np.diag([1.0, -1, -1])  # its cameras look along -z, with y up


class EgocentricScene:
    """A task's video by seed: the same seed gives the same images and poses.

    Attributes:
        K: (3, 3), pixels; the first pixel's middle is at 0.
        seconds: how long it is.
        instruction, action, objects: its label.
        acts_s: from and to, when the hands are at work.
    """

    def __init__(self, task: str, seed: int, width: int = 320, height: int = 240) -> None:
        self.width, self.height = width, height
        about = TASKS[task]
        self.instruction, self.action, self.objects = about.instruction, about.action, about.objects
        numbers = np.random.default_rng([seed, list(TASKS).index(task)])
        things = about.things(numbers)
        self.person = Person(numbers, {thing.name: np.array(thing.place) for thing in things})
        about.act(self.person, numbers, things)
        self.seconds = math.ceil((self.person.now + _AFTER_S) * 10) / 10
        self.acts_s = (0.3, self.seconds - 0.2)
        fov_deg = float(numbers.uniform(*_FOV_DEG))
        focal = height / 2 / math.tan(math.radians(fov_deg) / 2)
        self.K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
        self._furnish = partial(furnish, numbers, things, fov_deg)
        self._things = [thing.name for thing in things]
        self._renderer: CameraRenderer | None = None

    def bodies(self, times_s: Sequence[float] | np.ndarray) -> np.ndarray:
        """T_world_camera, and of the left and the right wrist: (T, 3, 4, 4), m."""
        person = self.person
        return np.array([[person.camera(t), person.wrist(LEFT, t), person.wrist(RIGHT, t)] for t in times_s])

    def in_view(self, bodies: np.ndarray) -> np.ndarray:
        """Which wrists (T, 2) are inside the image, of bodies (T, 3, 4, 4)."""
        in_camera = np.linalg.inv(bodies[:, :1]) @ bodies[:, 1:]
        x, y, z = np.moveaxis(in_camera[..., :3, 3] @ self.K.T, -1, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside = (x / z >= -0.5) & (x / z < self.width - 0.5) & (y / z >= -0.5) & (y / z < self.height - 0.5)
        return np.asarray(inside & (z > 0))

    def images(self, times_s: Sequence[float] | np.ndarray) -> Iterator[np.ndarray]:
        """(H, W, 3) uint8 RGB at every time. Raises RenderingError."""
        for t in times_s:
            self._place(t)
            yield self._open().render(self._data)[CAMERA]

    def depths(self, times_s: Sequence[float] | np.ndarray) -> Iterator[np.ndarray]:
        """(H, W) float32, m along the camera's z axis, at every time. Raises RenderingError."""
        for t in times_s:
            self._place(t)
            yield self._open().depth(self._data, CAMERA)

    def shown(self, t: float, body: str) -> np.ndarray:
        """Which pixels (H, W) show a hand or an object."""
        self._place(t)
        return self._open().shown(self._data, CAMERA, body)

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def __enter__(self) -> EgocentricScene:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def _model(self) -> mujoco.MjModel:
        return self._furnish()

    @cached_property
    def _data(self) -> mujoco.MjData:
        return mujoco.MjData(self._model)

    def _open(self) -> CameraRenderer:
        if self._renderer is None:
            self._renderer = CameraRenderer(self._model, {CAMERA: (self.height, self.width)})
        return self._renderer

    def _place(self, t: float) -> None:
        camera, *wrists = self.bodies([t])[0]
        camera = camera.copy()
        camera[:3, :3] = camera[:3, :3] @ _TO_MUJOCO
        placed = {CAMERA: camera, **dict(zip(HAND_BODIES, wrists, strict=True))}
        placed |= {name: self.person.thing(name, t) for name in self._things}
        for name, T in placed.items():
            index = self._model.body(name).mocapid[0]
            self._data.mocap_pos[index] = T[:3, 3]
            mujoco.mju_mat2Quat(self._data.mocap_quat[index], T[:3, :3].ravel())
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
