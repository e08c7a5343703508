"""Images as another camera might have seen them, as pi0 does it: crop and rotation, then colours.

Axes: B batch.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]

CROP, DEGREES = 0.95, 5.0
BRIGHTNESS, CONTRAST, SATURATION = 0.3, 0.4, 0.5
_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def augmented(images: Mapping[str, Images], seeds: npt.NDArray[np.int64], seed: int) -> dict[str, Images]:
    """camera -> (B, px, px, 3) RGB, each image changed by its own draw; `seeds` (B,) tells a draw from the others.

    A wrist camera moves with the hand that it sees: where things stand in its image is never changed.
    """
    return {
        name: np.stack([_augment(image, name, int(row), seed) for image, row in zip(frames, seeds, strict=True)])
        for name, frames in images.items()
    }


def _augment(image: Images, camera: str, row: int, seed: int) -> Images:
    random = np.random.default_rng([seed, 4, row, *camera.encode()])
    if "wrist" not in camera:
        image = _moved(image, random)
    return _recoloured(image, random)


def _moved(image: Images, random: np.random.Generator) -> Images:
    """A random CROP of the image at its former size, turned by up to DEGREES about its centre."""
    px = image.shape[0]
    left, top = random.uniform(0, px * (1 - CROP), size=2)
    turn = cv2.getRotationMatrix2D(((px - 1) / 2, (px - 1) / 2), random.uniform(-DEGREES, DEGREES), 1.0)
    crop = np.array([[1 / CROP, 0, -left / CROP], [0, 1 / CROP, -top / CROP], [0, 0, 1]])
    return np.asarray(cv2.warpAffine(image, turn @ crop, (px, px), flags=cv2.INTER_LINEAR), dtype=np.uint8)


def _recoloured(image: Images, random: np.random.Generator) -> Images:
    """Brightness, contrast and saturation, each by a random factor around one."""
    brightness, contrast, saturation = (
        random.uniform(1 - most, 1 + most) for most in (BRIGHTNESS, CONTRAST, SATURATION)
    )
    x = image.astype(np.float32) * brightness
    mean = float((x @ _GREY).mean())
    x = mean + (x - mean) * contrast
    grey = (x @ _GREY)[..., None]
    x = grey + (x - grey) * saturation
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)
