"""From a rendered video to the numbers that are trained on: with backends that know the truth, they are the truth."""

import json

import numpy as np
import pytest
from activemimic_data.dataset import Dataset
from activemimic_sim.world.rendering import RenderingError
from activemimic_training.egocentric.episodes.corpus import export_run
from activemimic_training.egocentric.episodes.load import load_ego_rows
from activemimic_training.egocentric.episodes.targets import chunk_targets
from activemimic_training.egocentric.poses.episodes import episodes_of
from activemimic_training.egocentric.quality.evaluate import evaluate
from activemimic_training.egocentric.run.pipeline import run
from activemimic_training.egocentric.settings.pipeline_config import EgocentricConfig
from activemimic_training.egocentric.spatial.pose_trajectory import EgoTrajectory
from activemimic_training.egocentric.synthesis import synthesize


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Two rendered videos, brought through the stages with the truth as their wrists and cameras."""
    root = tmp_path_factory.mktemp("end_to_end")
    try:
        made = synthesize(root / "videos", 2, 5, ("reaching", "pouring"), width=64, workers=1)
    except RenderingError as error:
        pytest.skip(str(error))
    assert [path.name for path in made] == ["reaching_0005.mp4", "pouring_0006.mp4"]
    truth = {"backend": "truth", "folder": str(root / "videos" / "truth")}
    config = {
        "segment": {"given": str(root / "videos" / "segments.json")},
        "filter": {"enabled": False},
        "wrists": truth,
        "camera": truth,
        "quality": {"smoothing_s": 0, "max_gap_s": 0, "min_hands_share": 0},
    }
    status = run([root / "videos"], root / "out", EgocentricConfig.model_validate(config), workers=1)
    assert (status.episodes, status.quarantined) == (2, [])
    return root


def test_the_targets_are_the_truths_to_a_millionth(ran, tmp_path):
    export_run(ran / "out", tmp_path / "corpus", 32, workers=1)
    rows = load_ego_rows(Dataset(tmp_path / "corpus"))
    start = 0
    for video in ("pouring_0006", "reaching_0005"):
        stages = ran / "out" / "items" / video
        about = json.loads((stages / "frames" / f"{video}_000" / "frames.json").read_text())
        assert about["source_pts_ns"] == about["time_ns"]  # a video of 30 frames a second has one at every tick
        (piece,) = episodes_of(stages / "quality")
        kept = EgoTrajectory.load(stages / "quality" / piece / "trajectory.npz").time_ns
        truth = EgoTrajectory.load(ran / "videos" / "truth" / f"{video}.npz").at(kept)
        assert not truth.wrist_observed.all()
        frames = np.arange(len(truth))
        last = np.full(len(truth), len(truth) - 1)
        wanted, counted = chunk_targets(truth.bodies, truth.bodies_observed, last, frames, 50)
        found, mask = rows.targets(start + frames, 50)
        np.testing.assert_array_equal(mask, counted)
        np.testing.assert_allclose(found, wanted, atol=1e-6)
        start += len(truth)
    assert start == len(rows.last)


def test_a_run_is_held_against_the_truth(ran):
    found = evaluate(ran / "out", ran / "videos" / "truth")
    assert (found["episodes"], found["unmatched"]) == (2, [])
    camera = found["bodies"]["camera"]
    assert camera["coverage"] > 0.9
    assert camera["median_m"] < 1e-9


def test_what_is_there_is_not_rendered_again_and_a_seed_gives_the_same_truth(ran, tmp_path):
    assert synthesize(ran / "videos", 2, 5, ("reaching", "pouring"), width=64, workers=1) == []
    synthesize(tmp_path, 1, 5, ("reaching",), width=64, with_depth=True, workers=1)
    for name in ("reaching_0005.mp4", "reaching_0005.camera.json", "truth/reaching_0005.npz"):
        assert (tmp_path / name).read_bytes() == (ran / "videos" / name).read_bytes(), name
    depth = np.load(tmp_path / "depth" / "reaching_0005.npz")
    assert depth["depth_mm"].shape == (len(EgoTrajectory.load(tmp_path / "truth" / "reaching_0005.npz")), 48, 64)
    assert 300 < np.median(depth["depth_mm"]) < 3000
