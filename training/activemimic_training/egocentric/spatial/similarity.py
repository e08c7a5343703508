"""Sim(3): the scale, rotation and translation that lay one set of points, or one trajectory, over another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from activemimic_training.egocentric.spatial.geometry import Floats, transform
from activemimic_training.egocentric_error import GeometryError

_FLAT = 1e-9  # of the largest spread: a second one below it is none


@dataclass(frozen=True)
class Similarity:
    """x becomes scale * rotation x + translation."""

    scale: float
    rotation: Floats  # (3, 3)
    translation: Floats  # (3,)

    def points(self, x: Floats) -> Floats:
        """(..., 3) to (..., 3)."""
        return self.scale * x @ self.rotation.T + self.translation

    def poses(self, T: Floats) -> Floats:
        """Poses (..., 4, 4) seen from the other frame: their positions scaled, their rotations only turned."""
        return transform(self.rotation @ T[..., :3, :3], self.points(T[..., :3, 3]))


def align(source: Floats, target: Floats, weights: Floats | None = None, with_scale: bool = True) -> Similarity:
    """The one that takes `source` (N, 3) to `target` (N, 3) with the least weighted squares (Umeyama 1991).

    Args:
        weights: (N,), not negative.
        with_scale: else its scale is 1, SE(3).

    Raises:
        GeometryError: the points with weight lie on one line or in one place, which leaves a rotation open.
    """
    w = np.ones(len(source)) if weights is None else np.asarray(weights, np.float64)
    if source.shape != target.shape or source.shape[1:] != (3,) or w.shape != source.shape[:1]:
        raise GeometryError(
            f"expected points (N, 3) twice and weights (N,), found {source.shape}, {target.shape} and {w.shape}"
        )
    if not all(np.isfinite(values).all() for values in (source, target, w)) or (w < 0).any():
        raise GeometryError("expected finite points and weights of at least 0, found others")
    if (w > 0).sum() < 3:
        raise GeometryError(f"expected at least 3 points with weight, found {int((w > 0).sum())}")
    w = w / w.sum()
    center, target_center = w @ source, w @ target
    moved, target_moved = source - center, target - target_center
    U, spread, Vt = np.linalg.svd((w[:, None] * target_moved).T @ moved)
    if spread[1] <= _FLAT * max(spread[0], np.finfo(np.float64).tiny):
        raise GeometryError("the points lie on one line or in one place; a rotation needs three that do not")
    handed = np.array([1.0, 1.0, np.sign(np.linalg.det(U) * np.linalg.det(Vt))])
    R = U * handed @ Vt
    scale = float(spread @ handed / (w @ (moved**2).sum(axis=1))) if with_scale else 1.0
    return Similarity(scale, R, target_center - scale * R @ center)


def align_robustly(
    source: Floats,
    target: Floats,
    weights: Floats | None = None,
    with_scale: bool = True,
    huber: float = 0.1,
    rounds: int = 20,
) -> Similarity:
    """As `align`, but a point further off than `huber` (in the target's units) counts by its distance, not its square.

    It is found by reweighted least squares, and bears some tenths of outliers. Raises GeometryError.
    """
    base = np.ones(len(source)) if weights is None else np.asarray(weights, np.float64)
    found = align(source, target, base, with_scale)
    for _ in range(rounds):
        residual = np.linalg.norm(found.points(source) - target, axis=1)
        found = align(source, target, base * np.minimum(1.0, huber / np.maximum(residual, 1e-12)), with_scale)
    return found
