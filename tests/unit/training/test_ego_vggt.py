"""VGGT and UniDepth as their documentation has them, here stand-ins that know the truth: what is made of their answers
is the truth, whatever there is to mislead."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import ego_clips as scene
import numpy as np
import pytest
from activemimic_training.egocentric.poses import unidepth, vggt
from activemimic_training.egocentric.poses.windows import windows
from activemimic_training.egocentric.quality.scale import scale_spread
from activemimic_training.egocentric.settings.pipeline_config import EgocentricConfigError, load_config
from activemimic_training.egocentric.settings.pose_settings import VggtCamera
from activemimic_training.egocentric.spatial.geometry import rotation_angle, transform
from activemimic_training.egocentric_error import EgocentricError

FRAMES = 18


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> scene.World:
    found = scene.World(FRAMES)
    found.install(monkeypatch)
    monkeypatch.setattr(vggt, "LONGEST_PX", 140)  # less to compute
    for loader in (vggt._load, unidepth._load):
        loader.cache_clear()
    return found


def settings(**changes: object) -> VggtCamera:
    given = {"backend": "vggt", "device": "cpu", "dtype": "float32", "scale": {"device": "cpu"}}
    return VggtCamera.model_validate({**given, **changes})


def errors(found: np.ndarray, world: scene.World) -> tuple[float, float]:
    """The largest, m and rad."""
    truth = world.poses[: len(found)]
    found = scene.up_to_world(found, truth)
    turned = rotation_angle(np.swapaxes(found[:, :3, :3], 1, 2) @ truth[:, :3, :3])
    return float(np.linalg.norm(found[:, :3, 3] - truth[:, :3, 3], axis=1).max()), float(turned.max())


@pytest.mark.parametrize(("window", "overlap", "count"), [(128, 32, 1), (8, 3, 3)])
def test_the_path_is_the_true_one_in_metres(
    world: scene.World, tmp_path: Path, window: int, overlap: int, count: int
) -> None:
    clip, hands = scene.numbered_clip(tmp_path, FRAMES), scene.hands(FRAMES, scene.HAND_BOX)
    found = vggt.vggt_camera(settings(window=window, overlap=overlap), clip, hands)
    found.validate("found", FRAMES)
    metres, radians = errors(found.T_world_camera, world)
    assert metres < 2e-4
    assert radians < 2e-4
    assert len(world.windows) == count
    assert scale_spread(found.frame_scales) < 1e-3
    np.testing.assert_allclose(found.confidence, 0.8, atol=1e-6)


def test_the_models_see_the_whole_image_at_518_px(
    world: scene.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vggt, "LONGEST_PX", 518)
    sizes = []
    monkeypatch.setattr(world, "vggt", lambda images, see=world.vggt: sizes.append(images.shape[2:]) or see(images))
    found = vggt.vggt_camera(settings(), scene.numbered_clip(tmp_path, 3), scene.hands(3, scene.HAND_BOX))
    assert sizes == [(392, 518)]
    assert errors(found.T_world_camera, world)[0] < 2e-4


def test_hands_whose_box_is_not_known_are_found_by_their_wrist(world: scene.World, tmp_path: Path) -> None:
    clip, hands = scene.numbered_clip(tmp_path, FRAMES), scene.hands(FRAMES)
    ray = np.linalg.inv(scene.K) @ [55, 45, 1]
    hands.T_camera_wrist[:, 1] = transform(np.eye(3), 0.6 * ray)
    found = vggt.vggt_camera(settings(window=8, overlap=3), clip, hands)
    assert errors(found.T_world_camera, world)[0] < 2e-4


def test_a_scale_that_flickers_is_told_and_its_median_taken(world: scene.World, tmp_path: Path) -> None:
    world.flicker[::3], world.flicker[1::3] = 0.8, 1.25
    found = vggt.vggt_camera(settings(), scene.numbered_clip(tmp_path, FRAMES), scene.hands(FRAMES, scene.HAND_BOX))
    assert errors(found.T_world_camera, world)[0] < 2e-4
    assert scale_spread(found.frame_scales) > 0.05


def test_what_cannot_be_is_left_out_with_its_reason(world: scene.World, tmp_path: Path) -> None:
    clip, hands = scene.numbered_clip(tmp_path, FRAMES), scene.hands(FRAMES, scene.HAND_BOX)
    everywhere = scene.hands(FRAMES, (0.0, 0.0, scene.WIDTH, scene.HEIGHT))
    with pytest.raises(EgocentricError, match=r"v_000: metric scale: expected enough .* found them in 0 of 18"):
        vggt.vggt_camera(settings(), clip, everywhere)
    with pytest.raises(EgocentricError, match=r"v_000: frames 5 to 8: two windows cannot be laid over each other"):
        vggt.vggt_camera(settings(window=8, overlap=3), clip, everywhere)
    world.bent = {5}
    with pytest.raises(EgocentricError, match=r"v_000: frames 5 to 8: two windows: expected points that agree to 0.05"):
        vggt.vggt_camera(settings(window=8, overlap=3), clip, hands)
    world.focal = 1.5
    with pytest.raises(EgocentricError, match=r"focal length: expected about the calibration's 114 px, VGGT found 170"):
        vggt.vggt_camera(settings(), clip, hands)


def test_windows_cover_every_frame_and_share_enough() -> None:
    for frames in range(1, 60):
        found = windows(frames, 10, 4)
        assert {k for first, stop in found for k in range(first, stop)} == {*range(frames)}
        assert all(later[0] + 4 <= earlier[1] for earlier, later in pairwise(found))
    assert windows(10, 10, 4) == [(0, 10)]
    assert windows(11, 10, 4) == [(0, 10), (1, 11)]
    with pytest.raises(EgocentricConfigError, match="overlap: expected at most half of window 8, found 5"):
        load_config(None, ["camera.backend=vggt", "camera.window=8", "camera.overlap=5"])
