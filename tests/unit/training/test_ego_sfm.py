"""Structure from motion on images of a textured scene: the path up to the scale that is given, or none."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import ego_clips as scene
import numpy as np
import pytest
from activemimic_training.egocentric.poses.clip import Clip
from activemimic_training.egocentric.poses.sfm import sfm_camera
from activemimic_training.egocentric.settings.pose_settings import SfmCamera
from activemimic_training.egocentric.spatial.geometry import rotation_angle, so3_exp, transform
from activemimic_training.egocentric.spatial.similarity import align
from activemimic_training.egocentric_error import EgocentricError

pytest.importorskip("pycolmap", reason="pycolmap is not installed")

FRAMES, WIDTH, HEIGHT = 14, 240, 180
K = np.array([[195.0, 0, 119.5], [0, 195.0, 89.5], [0, 0, 1]])
SIDES = (  # of squares: rotation, centre, side, m
    ([0.0, 0, 0], [0.0, 0, 1.2], 3.0),
    ([0.0, 0.9, 0], [-0.4, 0.1, 0.8], 0.5),
    ([0.5, -0.7, 0], [0.35, -0.1, 0.7], 0.4),
)
HAND = (90.0, 60.0, 160.0, 140.0)


def poses() -> np.ndarray:
    t = np.arange(FRAMES) / 5
    turns = np.stack([0.08 * np.sin(t), 0.15 * np.sin(0.7 * t), 0.03 * np.sin(1.3 * t)], -1)
    return transform(so3_exp(turns), np.stack([0.2 * np.sin(0.8 * t), 0.08 * np.sin(t), 0.08 * np.cos(t)], -1))


@cache
def texture(seed: int) -> np.ndarray:
    numbers = np.random.default_rng(seed)
    parts = [numbers.uniform(0, 80, (side, side, 3)).astype(np.float32) for side in (8, 32, 128)]
    return sum(cv2.resize(it, (512, 512), interpolation=cv2.INTER_NEAREST) for it in parts).clip(0, 255).astype("u1")


def picture(T_world_camera: np.ndarray, hand: int) -> np.ndarray:
    """The squares, the last in front, and a textured hand that moves with the camera, `hand` pixels on."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for seed, (turn, center, side) in enumerate(SIDES):
        corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * side / 2
        world = corners @ so3_exp(np.array(turn)).T + center
        seen = (world - T_world_camera[:3, 3]) @ T_world_camera[:3, :3] @ K.T
        at = (seen[:, :2] / seen[:, 2:]).astype(np.float32)
        square = cv2.getPerspectiveTransform(np.array([[0, 0], [511, 0], [511, 511], [0, 511]], np.float32), at)
        covered = cv2.warpPerspective(np.full((512, 512), 255, np.uint8), square, (WIDTH, HEIGHT)) > 128
        image[covered] = cv2.warpPerspective(texture(seed), square, (WIDTH, HEIGHT), flags=cv2.INTER_AREA)[covered]
    image[70:130, 100 + hand : 140 + hand] = texture(9)[:60, :40]
    return image


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    images = [picture(pose, k) for k, pose in enumerate(poses())]
    return scene.clip(tmp_path_factory.mktemp("clip"), images, K)


def settings(**scale: object) -> SfmCamera:
    given = {"backend": "sfm", "features": 400, "overlap": 4, "scale": scale or {"kind": "known_depth", "median_m": 1}}
    return SfmCamera.model_validate(given)


def test_the_path_is_the_true_one_up_to_its_scale_and_always_the_same(
    clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = sfm_camera(settings(), clip, scene.hands(FRAMES, HAND))
    found.validate("found", FRAMES)
    truth = poses()
    known = np.isfinite(found.T_world_camera[:, 0, 0])
    assert known.sum() >= FRAMES - 2
    similarity = align(found.T_world_camera[known, :3, 3], truth[known, :3, 3])
    assert similarity.scale == pytest.approx(1.1, abs=0.15)  # the scene's median depth, of which was said that it is 1
    laid = similarity.poses(found.T_world_camera[known])
    assert np.linalg.norm(laid[:, :3, 3] - truth[known, :3, 3], axis=1).max() < 0.01
    turned = np.swapaxes(laid[:, :3, :3], 1, 2) @ truth[known, :3, :3]
    assert rotation_angle(turned).max() < np.radians(3)
    assert ((found.confidence > 0.3) == known).all()

    depths = (square_depth(truth[frame], K) for frame in np.flatnonzero(known))  # asked for one after the other
    monkeypatch.setattr("activemimic_training.egocentric.poses.sfm.metric_depth", lambda *_: next(depths))
    metric = sfm_camera(settings(kind="unidepth"), clip, scene.hands(FRAMES, HAND))
    ratio = np.linalg.norm(np.diff(metric.T_world_camera[known, :3, 3], axis=0), axis=1).sum()
    assert ratio == pytest.approx(np.linalg.norm(np.diff(truth[known, :3, 3], axis=0), axis=1).sum(), rel=0.03)
    np.testing.assert_array_equal(metric.T_world_camera[:, :3, :3], found.T_world_camera[:, :3, :3])


def square_depth(T_world_camera: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """z (H, W) of the squares, m; the last is in front, as in the picture."""
    columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    rays = np.stack([columns, rows, np.ones_like(rows)], -1) @ np.linalg.inv(intrinsics).T @ T_world_camera[:3, :3].T
    z = np.full((HEIGHT, WIDTH), np.nan)
    for turn, center, side in SIDES:
        R = so3_exp(np.array(turn))
        distance = np.dot(R[:, 2], np.array(center) - T_world_camera[:3, 3]) / (rays @ R[:, 2])
        inside = np.abs((T_world_camera[:3, 3] + rays * distance[..., None] - center) @ R[:, :2]).max(-1) <= side / 2
        z = np.where(inside, distance, z)
    return z


def test_a_view_that_does_not_change_or_shows_nothing_is_left_out(clip: Clip, tmp_path: Path) -> None:
    still = scene.clip(tmp_path / "still", [picture(poses()[0], 0)] * 6, K)
    with pytest.raises(EgocentricError, match=r"expected 50% of the frames in one piece, found 0 of 6"):
        sfm_camera(settings(), still, scene.hands(6))
    with pytest.raises(EgocentricError, match=r"found 0 of 14"):
        sfm_camera(settings(), clip, scene.hands(FRAMES, (0.0, 0.0, WIDTH, HEIGHT)))


def test_a_scale_has_to_be_said() -> None:
    with pytest.raises(ValueError, match="scale"):
        SfmCamera.model_validate({"backend": "sfm"})
