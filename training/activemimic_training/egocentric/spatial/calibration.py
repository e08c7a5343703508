"""From a lens to the canonical camera: no distortion, square pixels, one matrix for every model that follows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from activemimic_description.common.strict import explain
from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt, ValidationError, model_validator

from activemimic_training.egocentric.spatial import fisheye624
from activemimic_training.egocentric_error import EgocentricError

_MOST_DISTORTION = {"pinhole": (0, 4, 5, 8), "fisheye": (0, 4), "fisheye624": (fisheye624.COEFFICIENTS,)}
_WIDEST_DEG = 120  # a pinhole image beyond this is mostly stretched border


class Calibration(BaseModel):
    """A camera as OpenCV calibrates it: `pinhole` with k1 k2 p1 p2 [k3 [k4 k5 k6]], `fisheye` (KB4) with k1 to k4.
    `fisheye624` is Project Aria's, with its 12 coefficients.

    Sizes and pixels are those of the image as it is shown, after the file's rotation flag.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: Literal["pinhole", "fisheye", "fisheye624"] = "pinhole"
    width: PositiveInt
    height: PositiveInt
    fx: PositiveFloat
    fy: PositiveFloat
    cx: float
    cy: float
    distortion: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _agrees(self) -> Calibration:
        expected = _MOST_DISTORTION[self.model]
        if len(self.distortion) not in expected:
            counts = " or ".join(map(str, expected))
            raise ValueError(f"distortion: expected {counts} numbers for {self.model}, found {len(self.distortion)}")
        return self

    def matrix(self, width: int, height: int) -> np.ndarray:
        """K (3, 3) for the same image at another size."""
        x, y = width / self.width, height / self.height
        # The centre of the first pixel is at 0, its corner at -0.5.
        return np.array(
            [
                [self.fx * x, 0, (self.cx + 0.5) * x - 0.5],
                [0, self.fy * y, (self.cy + 0.5) * y - 0.5],
                [0, 0, 1],
            ]
        )

    @property
    def distorted(self) -> bool:
        return self.model != "pinhole" or any(self.distortion)


def load_calibration(path: Path) -> Calibration:
    """Raises EgocentricError."""
    try:
        return Calibration.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise EgocentricError(f"{path}: " + "; ".join(explain(error))) from None
    except (OSError, UnicodeDecodeError) as error:
        raise EgocentricError(f"{path}: cannot be read: {error}") from None


def assumed(width: int, height: int, field_of_view_deg: float) -> Calibration:
    """A pinhole whose longer side sees `field_of_view_deg`."""
    focal = max(width, height) / 2 / math.tan(math.radians(field_of_view_deg) / 2)
    return Calibration(width=width, height=height, fx=focal, fy=focal, cx=(width - 1) / 2, cy=(height - 1) / 2)


class Undistortion:
    """Images (H, W, 3) of any size to the canonical ones (height, width, 3), whose matrix is `K`.

    Without distortion the image is only resized; otherwise it is the widest pinhole view all of which the lens saw.
    """

    def __init__(self, calibration: Calibration, width: int, height: int) -> None:
        self._size = (width, height)
        self._maps: tuple[np.ndarray, np.ndarray] | None = None
        seen = calibration.matrix(width, height)
        self.K = seen
        if not calibration.distorted:
            return
        distortion = np.array(calibration.distortion or (0.0,) * 4)
        self.K = _widest(calibration.model, seen, distortion, width, height)
        if calibration.model == "fisheye624":
            pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
            x, y = np.moveaxis(fisheye624.project(_rays(pixels, self.K), seen, distortion).astype(np.float32), -1, 0)
            self._maps = x, y
            return
        rectify = cv2.fisheye if calibration.model == "fisheye" else cv2
        self._maps = rectify.initUndistortRectifyMap(seen, distortion, np.eye(3), self.K, self._size, cv2.CV_32FC1)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        if image.shape[1::-1] != self._size:
            image = np.asarray(cv2.resize(image, self._size, interpolation=cv2.INTER_AREA))
        if self._maps is None:
            return image
        return np.asarray(cv2.remap(image, *self._maps, interpolation=cv2.INTER_LINEAR))


def _widest(model: str, seen: np.ndarray, distortion: np.ndarray, width: int, height: int) -> np.ndarray:
    """K of the widest view with a central principal point whose border lies inside the lens's image."""
    widest = None
    for degrees in range(20, _WIDEST_DEG + 1):
        focal = max(width, height) / 2 / math.tan(math.radians(degrees) / 2)
        K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
        if not _inside(model, seen, distortion, K, width, height):
            break
        widest = K
    if widest is None:
        raise EgocentricError("calibration: expected a lens that sees at least 20 degrees without a gap, found less")
    return widest


def _inside(model: str, seen: np.ndarray, distortion: np.ndarray, K: np.ndarray, width: int, height: int) -> bool:
    x, y = np.linspace(0, width - 1, 33), np.linspace(0, height - 1, 33)
    border = np.concatenate(
        [np.stack([x, np.full_like(x, edge)], 1) for edge in (0, height - 1)]
        + [np.stack([np.full_like(y, edge), y], 1) for edge in (0, width - 1)]
    )
    rays = _rays(border, K)
    if model == "fisheye624":  # what lies outside the circle that fits the image is the lens's own rim
        away = np.linalg.norm(fisheye624.project(rays, seen, distortion) - seen[:2, 2], axis=-1)
        return bool(np.all(away <= (min(width, height) - 1) / 2))
    still = np.zeros(3)
    project = cv2.fisheye.projectPoints if model == "fisheye" else cv2.projectPoints
    arguments = (rays[:, None], still, still, seen, distortion)
    found = np.asarray(project(*arguments)[0]).reshape(-1, 2)
    return bool(np.all((found >= 0) & (found <= (width - 1, height - 1))))


def _rays(pixels: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Where pixels (..., 2) of a pinhole look: (..., 3), of depth 1."""
    flat = (pixels - K[:2, 2]) / K[[0, 1], [0, 1]]
    return np.concatenate([flat, np.ones((*flat.shape[:-1], 1))], axis=-1)
