"""Wrists from landmarks and from a table: where a hand of known size is, whose it is, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from activemimic_training.egocentric.poses import mediapipe_hands
from activemimic_training.egocentric.poses.estimates import WristEstimate
from activemimic_training.egocentric.poses.mediapipe_hands import Detection, mediapipe_wrists, wrists_of
from activemimic_training.egocentric.poses.palm import palm_poses, view_rotation
from activemimic_training.egocentric.poses.supplied import supplied_wrists
from activemimic_training.egocentric.poses.wrists import without_doubles
from activemimic_training.egocentric.run.licences import Use, check, model_licence
from activemimic_training.egocentric.settings.pipeline_config import (
    EgocentricConfig,
    EgocentricConfigError,
    LicenceSection,
)
from activemimic_training.egocentric.settings.pose_settings import MediapipeWrists, SuppliedWrists
from activemimic_training.egocentric.spatial.geometry import Floats, interpolate, rotation_angle, so3_exp, transform
from activemimic_training.egocentric_error import EgocentricError
from ego_hands import HEIGHT, WIDTH, K, StillClip, drawn, landmarks, project, still_clip, wrists_at_work

SIZE_M = float(np.linalg.norm(landmarks(np.eye(4), left=False)[9]))
FRAMES = 40


def detection(T: Floats, left: bool, said: bool | None = None, score: float = 0.95, seed: int | None = None, m=0.0):
    """What a detector gives of a hand: its shape seen along the ray to it, in a unit of its own."""
    points = landmarks(T, left)
    noise = np.random.default_rng(seed).normal(size=(21, 3)) if seed is not None else np.zeros((21, 3))
    pixels = project(points)
    middle = ((pixels - K[:2, 2]) / K[[0, 1], [0, 1]]).mean(axis=0)
    shape = (points - points.mean(axis=0)) @ view_rotation(np.append(middle, 1.0))
    return Detection(left if said is None else said, score, pixels, 0.87 * (shape + m * noise))


def errors(found: WristEstimate, truth: Floats) -> tuple[Floats, Floats]:
    """m and degrees, (T, 2) each."""
    away = np.linalg.norm(found.T_camera_wrist[..., :3, 3] - truth[..., :3, 3], axis=-1)
    turned = np.swapaxes(found.T_camera_wrist[..., :3, :3], -1, -2) @ truth[..., :3, :3]
    return away, np.degrees(rotation_angle(turned))


@pytest.fixture
def clip(tmp_path: Path) -> StillClip:
    return still_clip(tmp_path, FRAMES)


def test_a_palm_has_one_frame_and_hands_side_by_side_have_the_same() -> None:
    for left in (True, False):
        assert palm_poses(landmarks(np.eye(4), left), left) == pytest.approx(np.eye(4), abs=1e-12)
    # Palms down before the eyes: x goes away from the wearer, z, the back of the hand, up.
    right = landmarks(np.eye(4), left=False)
    assert right[5, 1] > 0 > right[17, 1]
    assert right[12, 2] < right[9, 2]  # fingers bend to the palm
    assert np.isnan(palm_poses(np.zeros((21, 3)), left=True)).any()


def test_hands_of_known_size_are_where_they_are(clip: StillClip) -> None:
    truth = wrists_at_work(FRAMES)
    hands = [[detection(T[1], left=False), detection(T[0], left=True)] for T in truth]
    found = wrists_of(clip, hands, SIZE_M)
    found.validate("exact", FRAMES)
    away, turned = errors(found, truth)
    assert away.max() < 1e-6
    assert turned.max() < 1e-4
    assert found.confidence == pytest.approx(np.full((FRAMES, 2), 0.95))
    wrist = project(truth[3, 0, :3, 3])
    box = found.boxes_px[3, 0]
    assert (box[:2] <= wrist + 1e-6).all()
    assert (wrist - 1e-6 <= box[2:]).all()
    larger = wrists_of(clip, hands, 1.1 * SIZE_M)
    assert larger.T_camera_wrist[..., :3, 3] == pytest.approx(1.1 * truth[..., :3, 3])


def test_a_shape_that_is_off_costs_centimetres_and_trust(clip: StillClip) -> None:
    truth = wrists_at_work(FRAMES)
    hands = [
        [detection(T[side], side == 0, seed=2 * frame + side, m=0.005) for side in (0, 1)]
        for frame, T in enumerate(truth)
    ]
    found = wrists_of(clip, hands, SIZE_M)
    away, turned = errors(found, truth)
    assert np.median(away) < 0.03
    assert np.median(turned) < 15
    assert found.confidence.max() < 0.9
    assert np.median(found.confidence) > 0.4


def test_a_name_is_given_once_and_the_doubtful_hand_takes_the_other(clip: StillClip) -> None:
    left, right = wrists_at_work(1)[0]
    both_left = [detection(right, False, said=True, score=0.6), detection(left, True, score=0.9)]
    alone = [detection(left, True, score=0.7)]
    found = wrists_of(clip, [both_left, alone, *[[]] * (FRAMES - 2)], SIZE_M)
    assert found.confidence[:3] == pytest.approx(np.array([[0.9, 0.4], [0.7, 0], [0, 0]]))
    assert found.T_camera_wrist[0, 1, :3, 3] == pytest.approx(right[:3, 3])
    assert np.isnan(found.T_camera_wrist[1:, 1]).all()


def test_the_hand_of_somebody_across_the_table_is_not_the_wearers(clip: StillClip) -> None:
    left = wrists_at_work(1)[0, 0]
    foreign = transform(so3_exp(np.array([0.0, 0, 2])), np.array([0.2, -0.2, 1.6]))
    hands = [detection(foreign, True, score=0.99), detection(left, True, score=0.8)]
    found = wrists_of(clip, [hands] * FRAMES, SIZE_M)
    assert found.T_camera_wrist[0, 0, :3, 3] == pytest.approx(left[:3, 3])
    assert (found.confidence[:, 1] == 0).all()


def test_the_detectors_words_are_those_of_a_mirror_image(clip: StillClip, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = wrists_at_work(1)[0]
    seen = [detection(T, left) for T, left in zip(truth, (True, False), strict=True)]

    def points(values: Floats) -> SimpleNamespace:
        return SimpleNamespace(landmark=[SimpleNamespace(x=x, y=y, z=z) for x, y, z in values])

    result = SimpleNamespace(
        multi_handedness=[
            SimpleNamespace(classification=[SimpleNamespace(label=word, score=0.9)]) for word in ("Right", "Left")
        ],
        multi_hand_landmarks=[points(np.column_stack([hand.pixels / [WIDTH, HEIGHT], np.zeros(21)])) for hand in seen],
        multi_hand_world_landmarks=[points(hand.shape) for hand in seen],
    )
    detector = SimpleNamespace(process=lambda image: result)
    monkeypatch.setattr(mediapipe_hands, "_detector", lambda min_score: detector)
    found = mediapipe_wrists(MediapipeWrists(backend="mediapipe", hand_size_m=SIZE_M), clip)
    assert found.T_camera_wrist == pytest.approx(np.broadcast_to(truth, (FRAMES, 2, 4, 4)), abs=1e-6)


def test_mediapipe_finds_hands_that_were_drawn(clip: StillClip, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mediapipe.python.solutions.hands", reason="MediaPipe with its own models is not installed")
    palms = np.stack([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], axis=1)  # fingers up, the palm to the camera
    truth = [transform(palms, np.array([x, 0.1, 0.6])) for x in (-0.13, 0.13)]
    picture = drawn([landmarks(T, left) for T, left in zip(truth, (True, False), strict=True)])
    monkeypatch.setattr(StillClip, "images", lambda self: iter([picture] * len(self)))
    found = mediapipe_wrists(MediapipeWrists(backend="mediapipe", hand_size_m=SIZE_M), clip)
    found.validate("drawn", FRAMES)
    # A flat drawing may be of either hand, and is turned as one likes; the places are not in doubt.
    places = found.T_camera_wrist[0, :, :3, 3]
    expected = np.array([T[:3, 3] for T in truth])
    off = min(np.linalg.norm(places[order] - expected, axis=1).max() for order in ([0, 1], [1, 0]))
    assert off < 0.1


def test_without_mediapipe_the_run_says_how_to_get_it(clip: StillClip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe.python.solutions.hands", None)
    mediapipe_hands._detector.cache_clear()
    with pytest.raises(EgocentricConfigError, match="pip install 'activemimic_training\\[hands\\]'"):
        mediapipe_wrists(MediapipeWrists(backend="mediapipe"), clip)


def test_one_hand_taken_for_both_is_kept_once() -> None:
    T = wrists_at_work(2)
    T[1, 1] = T[1, 0]
    T[1, 1, 0, 3] += 0.01
    boxes = np.zeros((2, 2, 4))
    found = without_doubles(WristEstimate(np.arange(2), T, np.array([[0.6, 0.9], [0.6, 0.9]]), boxes))
    assert found.confidence.tolist() == [[0.6, 0.9], [0, 0.9]]
    assert np.isnan(found.T_camera_wrist[1, 0]).all()
    assert np.isnan(found.boxes_px[1, 0]).all()
    assert np.array_equal(found.T_camera_wrist[1, 1], T[1, 1])


HEAD = "t,hand,x,y,z,qx,qy,qz,qw,confidence"
TURNED = "0,0,0.7071067811865476,0.7071067811865476"  # 90 degrees about z


def table(folder: Path, *rows: str, head: str = HEAD) -> SuppliedWrists:
    (folder / "kitchen.csv").write_text("\n".join([head, *rows]))
    return SuppliedWrists(backend="supplied", folder=folder)


def test_a_table_of_wrists_is_read_at_the_clips_times(clip: StillClip, tmp_path: Path) -> None:
    settings = table(
        tmp_path,
        "0.35,left,0.2,0.1,0.5,0,0,0,1,0.8",
        f"0.25,left,0.1,0.1,0.5,{TURNED},0.6",
        "0.0,right,0.3,0.2,0.4,0,0,0,1,1",
        "3.0,left,0.2,0.1,0.5,0,0,0,1,1",
    )
    found = supplied_wrists(settings, clip)
    found.validate("table", FRAMES)
    quarter = so3_exp(np.array([0, 0, np.pi / 2]))
    ends = transform(quarter, np.array([0.1, 0.1, 0.5])), transform(np.eye(3), np.array([0.2, 0.1, 0.5]))
    assert found.T_camera_wrist[3, 0] == pytest.approx(interpolate(*ends, 0.5))
    assert {tuple(it) for it in np.argwhere(found.confidence > 0)} == {(0, 1), (3, 0), (30, 0)}
    assert found.confidence[3, 0] == pytest.approx(0.7)
    without = table(tmp_path, f"0.0,left,0.1,0.1,0.5,{TURNED}", head=HEAD.removesuffix(",confidence"))
    assert supplied_wrists(without, clip).confidence[0].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("0.1,both,0,0,0.5,0,0,0,1,1", "line 3: hand: expected left or right, found both"),
        ("0.1,left,0,0,0.5,0,0,0,2,1", "line 3: qw: expected a quaternion of length 1, found 2.0"),
        ("0.1,left,near,0,0.5,0,0,0,1,1", "line 3: x: expected a number, found near"),
        ("0.1,left,0,0,0.5,0,0,0,1,7", "line 3: confidence: expected 0 to 1, found 7.0"),
        ("0,right,0,0,0.5,0,0,0,1,1", "line 3: t: expected one row of a hand at a time, found 0.0"),
    ],
)
def test_a_table_that_is_wrong_is_refused_with_the_line(clip: StillClip, tmp_path: Path, row: str, fault: str) -> None:
    settings = table(tmp_path, "0,right,0,0,0.5,0,0,0,1,1", row)
    with pytest.raises(EgocentricError) as raised:
        supplied_wrists(settings, clip)
    assert str(raised.value) == f"{tmp_path / 'kitchen.csv'}: {fault}"


def test_a_table_without_a_column_or_a_file_is_named(clip: StillClip, tmp_path: Path) -> None:
    with pytest.raises(EgocentricError, match="found no qw"):
        supplied_wrists(table(tmp_path, head="t,hand,x,y,z,qx,qy,qz"), clip)
    (tmp_path / "kitchen.csv").unlink()
    with pytest.raises(EgocentricError, match="kitchen"):
        supplied_wrists(SuppliedWrists(backend="supplied", folder=tmp_path), clip)


def test_a_backend_whose_licence_is_excluded_is_refused() -> None:
    wrists = EgocentricConfig.model_validate(
        {"wrists": {"backend": "sam3d_body", "checkout": "there", "checkpoint": "model.ckpt"}}
    ).wrists
    assert wrists is not None
    uses = [Use("wrists", model, model_licence(model, licence)) for model, licence in wrists.models()]
    with pytest.raises(EgocentricConfigError, match="SAM License"):
        check(uses, LicenceSection(exclude=("SAM License",)))
    with pytest.raises(EgocentricConfigError, match="not known to allow commercial use"):
        check(uses, LicenceSection(commercial=True))
    hands = MediapipeWrists(backend="mediapipe").models()
    check([Use("wrists", model, model_licence(model)) for model, _ in hands], LicenceSection(commercial=True))
