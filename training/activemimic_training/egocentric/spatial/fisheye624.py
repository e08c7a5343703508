"""Project Aria's lens model FISHEYE624: six radial, two tangential and four thin-prism coefficients.

https://facebookresearch.github.io/projectaria_tools/docs/tech_insights/camera_intrinsic_models
"""

from __future__ import annotations

import numpy as np

from activemimic_training.egocentric.spatial.geometry import Floats

COEFFICIENTS = 12  # k0 to k5, p0, p1, s0 to s3


def project(rays: Floats, K: Floats, coefficients: Floats) -> Floats:
    """Pixels (..., 2) of directions (..., 3) in the camera's frame, with K (3, 3) and the coefficients (12,)."""
    k, (p0, p1), (s0, s1, s2, s3) = np.split(np.asarray(coefficients, np.float64), [6, 8])
    across = np.linalg.norm(rays[..., :2], axis=-1)
    angle = np.arctan2(across, rays[..., 2])
    radial = angle * (1 + sum(factor * angle ** (2 * power) for power, factor in enumerate(k, start=1)))
    u, v = np.moveaxis(rays[..., :2] * (radial / np.maximum(across, 1e-12))[..., None], -1, 0)
    r2 = u**2 + v**2
    x = u + p0 * (2 * u**2 + r2) + 2 * p1 * u * v + s0 * r2 + s1 * r2**2
    y = v + p1 * (2 * v**2 + r2) + 2 * p0 * u * v + s2 * r2 + s3 * r2**2
    return np.stack([K[0, 0] * x + K[0, 2], K[1, 1] * y + K[1, 2]], axis=-1)


def turned_clockwise(coefficients: Floats) -> Floats:
    """The coefficients of the same lens when its image is turned by 90 degrees, as its x axis was upwards before."""
    k, (p0, p1), (s0, s1, s2, s3) = np.split(np.asarray(coefficients, np.float64), [6, 8])
    return np.array([*k, -p1, p0, -s2, -s3, s0, s1])
