"""SAM-3D-Body's output becomes the wearer's wrists: its axes, its stale rotations, and people who do not wear it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from activemimic_training.egocentric.poses import sam3d_body
from activemimic_training.egocentric.poses.estimates import WristEstimate
from activemimic_training.egocentric.poses.sam3d_body import sam3d_body_wrists
from activemimic_training.egocentric.settings.pipeline_config import EgocentricConfigError
from activemimic_training.egocentric.settings.pose_settings import Sam3dBodyWrists
from activemimic_training.egocentric.spatial.geometry import Floats, rotation_angle, so3_exp, transform
from activemimic_training.egocentric_error import EgocentricError
from ego_hands import HEIGHT, WIDTH, K, StillClip, project, still_clip, wrists_at_work

FRAMES = 12
STAND_IN = Path(__file__).with_name("sam3d_body_stand_in.py")
OWN, FOREIGN = 1, 0  # the bystander comes first


def scene() -> dict[str, np.ndarray]:
    """A wearer, and somebody who stands before them: (T, P, ...)."""
    own = wrists_at_work(FRAMES)
    other = np.stack([transform(so3_exp(np.array([0.1, 2, 0])), np.array([x, 0.2, 1.8])) for x in (0.7, 0.3)])
    arms = np.array([[-0.35, 0.6, 0.25], [0.35, 0.6, 0.25]])
    shoulders = np.array([[-0.2, 0.25, -0.05], [0.2, 0.25, -0.05]])
    away = np.array([0.5, -0.1, 1.9])
    wrists = np.stack([np.broadcast_to(other, own.shape), own], axis=1)
    middles = project(wrists[..., :3, 3])
    of_each = {
        "boxes": np.array([[650.0, 60, 900, 470], [120, 200, 900, HEIGHT]]),
        "elbows": np.stack([away + arms * [0.8, 0.2, 0], arms]),
        "shoulders": np.stack([away + shoulders, shoulders]),
        "cam_t": np.stack([away, [0.02, 0.9, 0.3]]),
    }
    return {
        "wrists": wrists,
        "hand_boxes": np.concatenate([middles - 40, middles + 40], axis=-1),
        **{name: np.broadcast_to(values, (FRAMES, *values.shape)).copy() for name, values in of_each.items()},
        "refused": np.zeros((FRAMES, 2, 2), bool),
        "shift": np.zeros((FRAMES, 2)),
        "people": np.ones(FRAMES, bool),
        "focal": np.float64(K[0, 0]),
    }


@pytest.fixture
def clip(tmp_path: Path) -> StillClip:
    return still_clip(tmp_path, FRAMES)


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "sam-3d-body"
    (folder / "sam_3d_body").mkdir(parents=True)
    shutil.copy(STAND_IN, folder / "sam_3d_body" / "__init__.py")
    (folder / "tools").mkdir()
    (folder / "tools" / "build_detector.py").write_text(
        "class HumanDetector:\n    def __init__(self, name, device): self.name = name\n"
    )
    (tmp_path / "weights" / "assets").mkdir(parents=True)
    for name in ("assets/mhr_model.pt", "model_config.yaml"):
        (tmp_path / "weights" / name).touch()
    before, path = set(sys.modules), list(sys.path)
    sam3d_body._bodies.cache_clear()
    yield folder
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("sam_3d_body", "tools"):
            del sys.modules[name]
    assert sys.path == path


def settings(checkout: Path, scene: dict[str, np.ndarray], **more: object) -> Sam3dBodyWrists:
    checkpoint = checkout.parent / "weights" / "model.ckpt"
    with checkpoint.open("wb") as file:
        np.savez(file, **scene)
    values = {"backend": "sam3d_body", "checkout": checkout, "checkpoint": checkpoint, "device": "cpu", **more}
    return Sam3dBodyWrists.model_validate(values)


def assert_same(found: WristEstimate, truth: Floats, seen: np.ndarray) -> None:
    found.validate("found", FRAMES)
    assert np.array_equal(found.confidence > 0, seen)
    T = found.T_camera_wrist
    assert T[seen][:, :3, 3] == pytest.approx(truth[seen][:, :3, 3], abs=1e-5)
    assert rotation_angle(np.swapaxes(T[seen][:, :3, :3], -1, -2) @ truth[seen][:, :3, :3]).max() < 1e-3


def test_the_wearers_wrists_are_the_true_ones(
    clip: StillClip, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = scene()
    truth["people"][4] = False
    found = sam3d_body_wrists(settings(checkout, truth), clip)
    seen = np.ones((FRAMES, 2), bool)
    seen[4] = False
    assert_same(found, truth["wrists"][:, OWN], seen)
    assert found.boxes_px[3] == pytest.approx(np.clip(truth["hand_boxes"][3, OWN], 0, [WIDTH, HEIGHT] * 2))
    assert capsys.readouterr().out == ""


def test_an_offset_turns_each_wrists_own_axes(clip: StillClip, checkout: Path) -> None:
    truth = scene()
    found = sam3d_body_wrists(
        settings(checkout, truth, left_offset_deg=(0, 0, 90), right_offset_deg=(0, 180, 0), detector=None), clip
    )
    offsets = so3_exp(np.radians([[0, 0, 90], [0, 180.0, 0]]))
    expected = truth["wrists"][:, OWN] @ transform(offsets, np.zeros((2, 3)))
    assert_same(found, expected, np.ones((FRAMES, 2), bool))


def test_a_hand_that_is_not_seen_has_no_pose(clip: StillClip, checkout: Path) -> None:
    truth = scene()
    truth["refused"][2, OWN, 0] = True  # body and hand tell of other rotations
    truth["wrists"][5, OWN, 1, :3, 3] = [0.9, 0.2, 0.4]  # far outside the image
    truth["wrists"][6, OWN, 0, :3, 3] = [-0.2, 0.2, -0.3]  # behind the camera
    truth["hand_boxes"][7, OWN, 1] = [-300, 500, -200, 600]
    found = sam3d_body_wrists(settings(checkout, truth), clip)
    seen = np.ones((FRAMES, 2), bool)
    seen[[2, 6], 0] = seen[[5, 7], 1] = False
    assert_same(found, truth["wrists"][:, OWN], seen)


def test_nobody_is_the_wearer_when_only_others_are_there(clip: StillClip, checkout: Path) -> None:
    alone = scene()
    own = {name for name, values in alone.items() if values.shape[1:2] == (2,)}
    for name in own:
        alone[name] = alone[name][:, [FOREIGN, FOREIGN]]
    found = sam3d_body_wrists(settings(checkout, alone), clip)
    assert (found.confidence == 0).all()
    assert np.isnan(found.boxes_px).all()


def test_a_moment_of_doubt_does_not_change_who_the_wearer_is(clip: StillClip, checkout: Path) -> None:
    truth = scene()
    # For one frame the wearer's shoulders and elbows are guessed badly, and the bystander's look the part.
    truth["elbows"][5] = truth["elbows"][5, ::-1]
    truth["shoulders"][5, OWN] += [0.0, 0, 0.4]
    found = sam3d_body_wrists(settings(checkout, truth), clip)
    assert_same(found, truth["wrists"][:, OWN], np.ones((FRAMES, 2), bool))


def test_rotations_that_do_not_belong_to_the_joints_are_not_used(clip: StillClip, checkout: Path) -> None:
    truth = scene()
    truth["shift"][3] = 0.02
    with pytest.raises(EgocentricError, match=r"kitchen_000, frame 3: wrists computed again .* found 0\.020 m"):
        sam3d_body_wrists(settings(checkout, truth), clip)


def test_what_is_missing_is_named(clip: StillClip, checkout: Path) -> None:
    whole = settings(checkout, scene())
    (checkout / "sam_3d_body" / "__init__.py").write_text("import a_module_that_is_not_there\n")
    with pytest.raises(EgocentricConfigError, match="needs the module a_module_that_is_not_there"):
        sam3d_body_wrists(whole, clip)
    with pytest.raises(EgocentricConfigError, match=r"wrists.checkout: expected \S*/elsewhere/sam_3d_body"):
        sam3d_body_wrists(whole.model_copy(update={"checkout": checkout / "elsewhere"}), clip)
    (whole.checkpoint.parent / "assets" / "mhr_model.pt").unlink()
    with pytest.raises(EgocentricConfigError, match=r"wrists.checkpoint: expected \S*/mhr_model.pt, found nothing"):
        sam3d_body_wrists(whole, clip)
