"""The pose stages on files: from frames to trajectories that can be learnt from, and a dataset of them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ego_clips as scene
import ego_videos as videos
import numpy as np
import pytest
from activemimic_bringup.cli.main import app
from activemimic_data.dataset import Dataset
from activemimic_training.egocentric.episodes.corpus import export_run
from activemimic_training.egocentric.episodes.load import load_ego_rows
from activemimic_training.egocentric.poses.estimates import CameraEstimate, WristEstimate
from activemimic_training.egocentric.poses.hands import hand_pixels
from activemimic_training.egocentric.poses.join import check_clip
from activemimic_training.egocentric.poses.supplied import supplied_camera
from activemimic_training.egocentric.quality.quality import QualityConfig
from activemimic_training.egocentric.run.pipeline import run
from activemimic_training.egocentric.run.status import run_status
from activemimic_training.egocentric.settings.pipeline_config import EgocentricConfig, EgocentricConfigError
from activemimic_training.egocentric.settings.pose_settings import SuppliedCamera
from activemimic_training.egocentric.spatial.geometry import inverse, se3_exp
from activemimic_training.egocentric.spatial.pose_trajectory import STEP_NS, EgoTrajectory
from activemimic_training.egocentric_error import EgocentricError
from ego_motion import at_work
from transforms3d.quaternions import mat2quat
from typer.testing import CliRunner

PLAIN = QualityConfig(smoothing_s=0, min_seconds=1)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two videos of 3 s with segments, and the truth of what is done in them."""
    (tmp_path / "videos").mkdir()
    (tmp_path / "truth").mkdir()
    for phase, name in enumerate(("bread", "sink")):
        videos.write_video(tmp_path / "videos" / f"{name}.mp4", videos.steady(3.2, 10))
        at_work(32, float(phase)).save(tmp_path / "truth" / f"{name}.npz")
    segments = {name: [videos.segment(0.2, 2.7)] for name in ("bread", "sink")}
    videos.write_segments(tmp_path / "segments.json", **segments)
    return tmp_path


def configured(corpus: Path, **sections: Any) -> EgocentricConfig:
    supplied = {"backend": "supplied", "folder": str(corpus / "truth")}
    given = {"segment": {"given": str(corpus / "segments.json")}, "filter": {"enabled": False}}
    plain = {"quality": {"smoothing_s": 0}}
    return EgocentricConfig.model_validate({**given, **plain, "wrists": supplied, "camera": supplied, **sections})


def results(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in (out / "items").rglob("*") if path.is_file()}


def estimates(frames: int = 30) -> tuple[EgoTrajectory, CameraEstimate, WristEstimate]:
    """The truth, and what perfect backends would say of it."""
    truth = at_work(frames)
    in_camera = inverse(truth.T_world_camera)[:, None] @ truth.T_world_wrist
    camera = CameraEstimate(truth.time_ns, truth.T_world_camera, np.ones(frames), np.zeros(0))
    boxes = np.full((frames, 2, 4), np.nan)
    return truth, camera, WristEstimate(truth.time_ns, in_camera, np.ones((frames, 2)), boxes)


def test_from_videos_to_a_dataset(corpus: Path, tmp_path: Path) -> None:
    status = run([corpus / "videos"], tmp_path / "out", configured(corpus), workers=1)
    assert (status.kept, status.kept_frames, status.lost, status.quarantined) == (2, 50, [], [])
    result, _ = export_run(tmp_path / "out", tmp_path / "dataset", 32, workers=1)
    assert (result.episodes, result.frames) == (2, 50)
    dataset = Dataset(tmp_path / "dataset")
    truth = EgoTrajectory.load(corpus / "truth" / "bread.npz").between(2, 27)
    np.testing.assert_allclose(load_ego_rows(dataset).bodies[:25], truth.bodies, atol=1e-12)
    assert dataset.episodes[0].task == "Open the jar"
    about = json.loads((tmp_path / "dataset/meta/activemimic.json").read_text())
    assert [(it["what"], it["videos"]) for it in about["source"]["data"]] == [("own videos", 2)]
    assert [it["bag"] for it in about["bags"]] == ["bread_000_000", "sink_000_000"]


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_ray_makes_the_same_bytes_of_all_stages(corpus: Path, tmp_path: Path) -> None:
    run([corpus / "videos"], tmp_path / "local", configured(corpus), workers=2)
    run([corpus / "videos"], tmp_path / "ray", configured(corpus), "ray", workers=2)
    assert results(tmp_path / "ray") == results(tmp_path / "local")
    assert sum("trajectory.npz" in name for name in results(tmp_path / "ray")) == 2


def test_what_changes_outside_is_made_anew_and_what_is_lost_is_told(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run([corpus / "videos"], out, configured(corpus), workers=1)
    before = results(out)
    truth = at_work(32)
    poses = truth.bodies
    poses[:, 0] = np.nan
    EgoTrajectory.of(truth.time_ns, poses).save(corpus / "truth" / "sink.npz")
    (corpus / "truth" / "bread.npz").unlink()
    status = run([corpus / "videos"], out, configured(corpus), workers=1)
    assert [(it.stage, it.episode) for it in status.lost] == [("wrists", "bread_000"), ("quality", "sink_000")]
    assert "bread.npz: missing; expected a trajectory" in status.lost[0].reason
    assert status.lost[1].reason == "unseen: the camera in all of 25 frames"
    unchanged = [name for name in before if before[name] == results(out).get(name)]
    assert all(f"items/{item}/frames/stage.json" in unchanged for item in ("bread", "sink"))
    with pytest.raises(EgocentricError, match="expected trajectories to export, found none; 2 of 2 items are through"):
        export_run(out, tmp_path / "dataset")


def test_the_command_exports_and_says_what_is_not_in_it(corpus: Path, tmp_path: Path) -> None:
    out, dataset = tmp_path / "out", tmp_path / "dataset"
    run([corpus / "videos"], out, configured(corpus), workers=1)
    (corpus / "videos" / "late.mp4").touch()
    assert run([corpus / "videos"], out, configured(corpus), workers=1).quarantined
    runner = CliRunner(env={"COLUMNS": "160"})
    words = ["ego", "export", str(out), "--out", str(dataset), "--image-px", "32", "--workers", "1"]
    result = runner.invoke(app, [*words, "--format", "v2.1"])
    assert result.exit_code == 0, result.output
    assert "1 of 3 items are not through stage quality" in result.output
    assert "2 episodes, 50 frames" in result.output
    assert json.loads((dataset / "meta/info.json").read_text())["codebase_version"] == "v2.1"
    shown = runner.invoke(app, ["ego", "status", str(out)]).output
    assert "2 trajectories, 0.1 min; left out 0 times" in shown
    assert runner.invoke(app, words).exit_code == 1  # it is there
    assert runner.invoke(app, [*words[:-4], "--image-px", "33"]).exit_code == 2


def test_a_backend_that_is_not_installed_or_not_allowed_is_said_before_anything_runs(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vggt = {"backend": "vggt"}
    monkeypatch.setattr("activemimic_training.egocentric.run.pipeline.find_spec", lambda name: None)
    for sections, text in (
        ({"camera": vggt}, r"camera.backend: vggt needs vggt: pip install git\+https://github.com/facebookresearch"),
        (
            {"camera": vggt, "licences": {"commercial": True}},
            "camera: facebook/VGGT-1B has licence CC-BY-NC-4.0, not known to allow commercial use",
        ),
        ({"camera": {**vggt, "model": "own"}, "licences": {"exclude": ["MIT"]}}, "camera: own has licence not stated"),
    ):
        with pytest.raises(EgocentricConfigError, match=text):
            run([corpus / "videos"], tmp_path / "out", configured(corpus, **sections))
    assert not (tmp_path / "out").exists()


def test_a_cut_ends_a_trajectory_and_what_is_blurred_is_trusted_less(tmp_path: Path) -> None:
    truth, camera, wrists = estimates()
    clip = scene.numbered_clip(tmp_path, 30, cut_after=[13], blurred=[3])
    elsewhere = truth.bodies
    elsewhere[14:] = se3_exp(np.array([0.3, 0.1, 0, 0, 0, 0.5])) @ elsewhere[14:]
    camera.T_world_camera[:] = elsewhere[:, 0]
    result = check_clip(clip, camera, wrists, PLAIN)
    assert [(it.first, it.stop) for it in result.episodes] == [(0, 14), (14, 30)]
    assert [(it.kind, it.first) for it in result.findings] == [("cut", 14)]
    np.testing.assert_allclose(result.episodes[1].trajectory.bodies, elsewhere[14:], atol=1e-12)
    assert result.episodes[0].trajectory.camera_confidence.tolist() == [1.0] * 3 + [0.5] + [1.0] * 10
    assert result.episodes[0].trajectory.time_ns.tolist() == clip.time_ns[:14].tolist()
    unsure = check_clip(clip, camera, wrists, PLAIN.model_copy(update={"blurred_confidence": 0.1}))
    assert not unsure.episodes[0].trajectory.camera_observed[3]


def test_a_scale_that_spreads_costs_its_shot_alone(tmp_path: Path) -> None:
    _, camera, wrists = estimates()
    scales = np.where(np.arange(30) < 14, 2.0, np.tile([1.0, 3.0], 15))
    clip = scene.numbered_clip(tmp_path, 30, cut_after=[13])
    spread = CameraEstimate(camera.time_ns, camera.T_world_camera, camera.confidence, scales)
    result = check_clip(clip, spread, wrists, PLAIN)
    assert [(it.first, it.stop) for it in result.episodes] == [(0, 14)]
    assert [(it.kind, it.done, it.first, it.stop) for it in result.findings if it.kind == "scale"] == [
        ("scale", "left out", 14, 30)
    ]


def test_a_shot_that_a_backend_cannot_place_does_not_cost_the_others(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from activemimic_training.egocentric.poses.camera import _each_shot

    _, camera, wrists = estimates(20)
    clip = scene.numbered_clip(tmp_path / "clip", 20, cut_after=[7, 11])

    def backend(shot: Any, seen: WristEstimate) -> CameraEstimate:
        numbers = [scene.number_of(_tensor(image)) for image in shot.images()]
        assert np.array_equal(shot.time_ns, seen.time_ns)
        assert (np.array(numbers) * STEP_NS).tolist() == shot.time_ns.tolist()
        if numbers[0] == 8:
            raise EgocentricError("too dark")
        return CameraEstimate(shot.time_ns, camera.T_world_camera[numbers], np.ones(len(numbers)), np.ones(len(shot)))

    found, reasons = _each_shot(clip, wrists, backend)
    found.validate("found", 20)
    assert reasons == ["too dark"]
    assert np.isnan(found.T_world_camera[8:12]).all()
    assert np.isfinite(found.frame_scales).tolist() == [True] * 8 + [False] * 4 + [True] * 8
    with pytest.raises(EgocentricError, match="too dark"):
        _each_shot(clip, wrists, _always(EgocentricError("too dark")))


def test_hands_cover_their_box_or_what_their_wrist_can_reach(tmp_path: Path) -> None:
    clip = scene.numbered_clip(tmp_path, 2)
    wrists = scene.hands(2, (40.0, 30.0, 60.0, 50.0))
    mask = hand_pixels(clip, wrists, 0, clip.width * 2, clip.height * 2)
    rows, columns = np.nonzero(mask)
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (74, 54, 126, 106)
    wrists = scene.hands(2)
    wrists.T_camera_wrist[1, 0] = np.eye(4)
    wrists.T_camera_wrist[1, 0, :3, 3] = [0, 0, 0.6]
    assert not hand_pixels(clip, wrists, 0, clip.width, clip.height).any()
    mask = hand_pixels(clip, wrists, 1, clip.width, clip.height)
    assert mask[55, 73]
    assert mask.sum() == pytest.approx((2 * 0.22 / 0.6 * 120) ** 2, rel=0.05)
    wrists.T_camera_wrist[1, 0, 2, 3] = -0.6
    assert not hand_pixels(clip, wrists, 1, clip.width, clip.height).any()


@pytest.mark.parametrize(("ending", "between"), [("csv", ","), ("txt", " ")])
def test_a_path_in_a_text_file_is_interpolated_and_gaps_are_not(tmp_path: Path, ending: str, between: str) -> None:
    truth = at_work(61)
    clip = scene.numbered_clip(tmp_path / "clip", 30)
    rows = ["t,x,y,z,qx,qy,qz,qw"] if ending == "csv" else ["# timestamp tx ty tz qx qy qz qw"]
    for k in range(0, 61):  # every 50 ms, none in between
        if 20 < k < 30:
            continue
        pose = truth.T_world_camera[k]
        w, x, y, z = mat2quat(pose[:3, :3])
        rows.append(between.join(map(repr, [0.05 * k + 0.025, *map(float, pose[:3, 3]), *map(float, (x, y, z, w))])))
    (tmp_path / f"v.{ending}").write_text("\n".join(rows) + "\n")
    settings = SuppliedCamera(backend="supplied", folder=tmp_path)
    found = supplied_camera(settings, clip, scene.hands(30))
    found.validate("found", 30)
    known = np.isfinite(found.T_world_camera[:, 0, 0])
    assert np.flatnonzero(~known).tolist() == [0, 11, 12, 13, 14, 15]
    middle = (truth.T_world_camera[1, :3, 3] + truth.T_world_camera[2, :3, 3]) / 2
    np.testing.assert_allclose(found.T_world_camera[1, :3, 3], middle, atol=2e-3)
    assert found.confidence.tolist() == known.astype(float).tolist()


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("v.csv", "t,x,y\n1,2,3\n", "v.csv: cannot be read as a path: expected the head t,x,y,z,qx,qy,qz,qw, found t"),
        ("v.txt", "0 0 0 0 0 0 0 2\n", r"v.txt: qx to qw: expected length 1, found 2.000 in row 1"),
        ("v.txt", "1 0 0 0 0 0 0 1\n1 0 0 0 0 0 0 1\n", "v.txt: t: expected to ascend, found otherwise after row 1"),
        ("v.txt", "1 0 0 nan 0 0 0 1\n", "v.txt: expected rows of t x y z"),
        ("v.txt", "", "v.txt: expected rows of t x y z"),
        ("v.txt", "100 0 0 0 0 0 0 1\n", "v.txt: t: expected poses at the time of v_000, 0 to 400000000 ns, found n"),
        ("none", "", "v.npz: missing; expected a trajectory"),
    ],
)
def test_a_path_that_cannot_be_used_is_named(tmp_path: Path, name: str, text: str, expected: str) -> None:
    (tmp_path / name).write_text(text)
    settings = SuppliedCamera(backend="supplied", folder=tmp_path)
    with pytest.raises(EgocentricError, match=expected):
        supplied_camera(settings, scene.numbered_clip(tmp_path / "clip", 5), scene.hands(5))


def test_status_knows_a_run_that_stopped_at_frames(corpus: Path, tmp_path: Path) -> None:
    run([corpus / "videos"], tmp_path / "out", configured(corpus), workers=1, until="frames")
    status = run_status(tmp_path / "out")
    assert (status.episodes, status.kept, status.lost) == (2, 0, [])
    assert len(status.unfinished("quality")) == 2


def _tensor(image: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(image)


def _always(error: Exception) -> Callable[..., CameraEstimate]:
    def fail(*_: object) -> CameraEstimate:
        raise error

    return fail
