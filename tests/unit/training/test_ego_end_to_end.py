"""From a rendered video to the numbers that are trained on: with backends that know the truth, they are the truth."""

import json

import numpy as np
import pytest
from activemimic_bringup.synthesis import synthesize
from activemimic_sim.rendering import RenderingError
from activemimic_training.dataset import Dataset
from activemimic_training.egocentric.config import EgocentricConfig
from activemimic_training.egocentric.export import EpisodeFiles, export_corpus
from activemimic_training.egocentric.geometry import wrists_in_world
from activemimic_training.egocentric.load import load_ego_rows
from activemimic_training.egocentric.pipeline import run
from activemimic_training.egocentric.poses.estimates import CameraEstimate, WristEstimate
from activemimic_training.egocentric.quality import QualityConfig, check_quality
from activemimic_training.egocentric.targets import chunk_targets
from activemimic_training.egocentric.trajectory import EgoTrajectory

AS_IT_IS = QualityConfig(smoothing_s=0, max_gap_s=0, min_hands_share=0)


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
    }
    status = run([root / "videos"], root / "out", EgocentricConfig.model_validate(config), workers=1, until="camera")
    assert (status.episodes, status.quarantined) == (2, [])
    return root


def joined(items, video):
    """What the pose stages found of a video's only episode."""
    camera = CameraEstimate.load(items / video / "camera" / f"{video}_000" / "camera.npz")
    wrists = WristEstimate.load(items / video / "wrists" / f"{video}_000" / "wrists.npz")
    bodies = np.concatenate(
        [camera.T_world_camera[:, None], wrists_in_world(camera.T_world_camera, wrists.T_camera_wrist)], axis=1
    )
    return EgoTrajectory.of(camera.time_ns, bodies, np.column_stack([camera.confidence, wrists.confidence]))


def test_the_targets_are_the_truths_to_a_millionth(ran, tmp_path):
    episodes, expected = [], []
    for video in ("pouring_0006", "reaching_0005"):
        frames = ran / "out" / "items" / video / "frames" / f"{video}_000"
        about = json.loads((frames / "frames.json").read_text())
        assert about["source_pts_ns"] == about["time_ns"]  # a video of 30 frames a second has one at every tick
        result = check_quality(joined(ran / "out" / "items", video), AS_IT_IS)
        result.write(tmp_path / video)
        (episode,) = result.episodes
        files = tmp_path / video / "000" / "trajectory.npz", frames / "frames.mp4"
        episodes.append(EpisodeFiles(f"{video}_000", *files, about["time_ns"][0], about["task"]))
        truth = EgoTrajectory.load(ran / "videos" / "truth" / f"{video}.npz")
        first = int(np.searchsorted(truth.time_ns, episode.trajectory.time_ns[0]))
        expected.append(truth.between(first, first + len(episode.trajectory)))
    assert not all(it.wrist_observed.all() for it in expected)
    export_corpus(episodes, tmp_path / "corpus", 32, workers=1)
    rows = load_ego_rows(Dataset(tmp_path / "corpus"))
    start = 0
    for truth in expected:
        frames = np.arange(len(truth))
        last = np.full(len(truth), len(truth) - 1)
        wanted, counted = chunk_targets(truth.bodies, truth.bodies_observed, last, frames, 50)
        found, mask = rows.targets(start + frames, 50)
        np.testing.assert_array_equal(mask, counted)
        np.testing.assert_allclose(found, wanted, atol=1e-6)
        start += len(truth)
    assert start == len(rows.last)


def test_what_is_there_is_not_rendered_again_and_a_seed_gives_the_same_truth(ran, tmp_path):
    assert synthesize(ran / "videos", 2, 5, ("reaching", "pouring"), width=64, workers=1) == []
    synthesize(tmp_path, 1, 5, ("reaching",), width=64, with_depth=True, workers=1)
    for name in ("reaching_0005.mp4", "reaching_0005.camera.json", "truth/reaching_0005.npz"):
        assert (tmp_path / name).read_bytes() == (ran / "videos" / name).read_bytes(), name
    depth = np.load(tmp_path / "depth" / "reaching_0005.npz")
    assert depth["depth_mm"].shape == (len(EgoTrajectory.load(tmp_path / "truth" / "reaching_0005.npz")), 48, 64)
    assert 300 < np.median(depth["depth_mm"]) < 3000
