"""Camera images from MuJoCo, without a display."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import mujoco
import numpy as np
from activemimic_description.common.errors import OperationError

from activemimic_sim.world.perturbations import Perturbation

_GEOM = int(mujoco.mjtObj.mjOBJ_GEOM)  # an array compared with the enumeration itself is compared element by element
_PACKAGES = "libegl1 libegl-mesa0 libgl1-mesa-dri libopengl0"


class RenderingError(OperationError):
    """No OpenGL context could be made; says which packages bring one."""


class CameraRenderer:
    """Renders a model's named cameras, all at one size, on the thread that made it.

    An OpenGL context belongs to one thread: make, use and close the renderer there. Usable as a context manager.
    """

    def __init__(
        self, model: mujoco.MjModel, sizes: Mapping[str, tuple[int, int]], perturbations: Sequence[Perturbation] = ()
    ) -> None:
        """Args: sizes: (height, width) in pixels of every camera to render."""
        self._model = model
        self._sizes = dict(sizes)
        self._perturbations = perturbations
        self._renderers: dict[tuple[int, int], mujoco.Renderer] = {}
        # The whole buffer is cleared for every image, so it is no larger than the largest image.
        model.vis.global_.offheight = max((height for height, _ in self._sizes.values()), default=1)
        model.vis.global_.offwidth = max((width for _, width in self._sizes.values()), default=1)
        for height, width in set(self._sizes.values()):
            try:
                renderer = mujoco.Renderer(model, height, width)
            except Exception as error:
                raise RenderingError(
                    f"no OpenGL context with MUJOCO_GL={os.environ.get('MUJOCO_GL')}: {error}. "
                    f"Install Mesa's software renderer (apt-get install {_PACKAGES}), or libosmesa6 and set "
                    "MUJOCO_GL=osmesa."
                ) from None
            for flag in (
                mujoco.mjtRndFlag.mjRND_SHADOW,
                mujoco.mjtRndFlag.mjRND_REFLECTION,
                mujoco.mjtRndFlag.mjRND_SKYBOX,
            ):
                renderer.scene.flags[flag] = 0
            self._renderers[height, width] = renderer

    def render(self, data: mujoco.MjData) -> dict[str, np.ndarray]:
        """An (H, W, 3) uint8 RGB image by camera name."""
        for perturbation in self._perturbations:
            perturbation.light(self._model, data.time)
        images = {}
        for camera, size in self._sizes.items():
            renderer = self._renderers[size]
            renderer.update_scene(data, camera)
            images[camera] = renderer.render()
            for perturbation in self._perturbations:
                images[camera] = perturbation.image(camera, images[camera], data.time)
        return images

    def visible_pixels(self, data: mujoco.MjData, camera: str, body: str) -> int:
        """How many pixels of the camera's image show a body."""
        return int(np.count_nonzero(self.shown(data, camera, body)))

    def shown(self, data: mujoco.MjData, camera: str, body: str) -> np.ndarray:
        """Which pixels (H, W) of the camera's image show a body."""
        renderer = self._renderers[self._sizes[camera]]
        renderer.enable_segmentation_rendering()
        try:
            renderer.update_scene(data, camera)
            segments = renderer.render()
        finally:
            renderer.disable_segmentation_rendering()
        geoms = np.flatnonzero(np.asarray(self._model.geom_bodyid) == self._model.body(body).id)
        return np.isin(segments[..., 0], geoms) & (segments[..., 1] == _GEOM)

    def depth(self, data: mujoco.MjData, camera: str) -> np.ndarray:
        """How far along the camera's axis each pixel is, (H, W) float32, m."""
        renderer = self._renderers[self._sizes[camera]]
        renderer.enable_depth_rendering()
        try:
            renderer.update_scene(data, camera)
            return renderer.render().copy()
        finally:
            renderer.disable_depth_rendering()

    def close(self) -> None:
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    def __enter__(self) -> CameraRenderer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
