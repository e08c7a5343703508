"""Images as they might have been: of another camera, as pi0 does it, or in another light.

Axes: B batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]

CROP, DEGREES = 0.95, 5.0
BRIGHTNESS, CONTRAST, SATURATION = 0.3, 0.4, 0.5
_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)
# From a light that lacks a colour nearly, as a coloured lamp does, to one with more of it than cameras expect.
LIGHT = (0.1, 1.3)


def augmented(images: Mapping[str, Images], seeds: npt.NDArray[np.int64], seed: int) -> dict[str, Images]:
    """camera -> (B, px, px, 3) RGB, each image changed by its own draw; `seeds` (B,) tells a draw from the others.

    A wrist camera moves with the hand that it sees: where things stand in its image is never changed.
    """
    return {
        name: np.stack([_augment(image, name, int(row), seed) for image, row in zip(frames, seeds, strict=True)])
        for name, frames in images.items()
    }


def relit(images: Mapping[str, Images], seeds: npt.NDArray[np.int64], seed: int) -> dict[str, Images]:
    """camera -> (B, px, px, 3) RGB; half of the rows in light of a random colour, half of these with channels swapped.

    All cameras of a row see the same light. `seeds` (B,) tells a draw from the others.
    """
    lights = [_light(np.random.default_rng([seed, 5, row])) for row in seeds.tolist()]
    return {
        name: np.stack([cv2.transform(image, light) for image, light in zip(frames, lights, strict=True)])
        for name, frames in images.items()
    }


def _light(random: np.random.Generator) -> npt.NDArray[np.float64]:
    """What a light makes of red, green and blue (3, 3)."""
    if random.uniform() < 0.5:
        return np.eye(3)
    factors = np.exp(random.uniform(math.log(LIGHT[0]), math.log(LIGHT[1]), size=3))
    channels = random.permutation(3) if random.uniform() < 0.5 else np.arange(3)
    return np.asarray(factors[:, None] * np.eye(3)[channels])


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
