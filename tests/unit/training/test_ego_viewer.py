"""Pages of an episode and of a corpus tell what lies on the disk, whatever of it is there."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from activemimic_bringup.cli.main import app
from activemimic_training.egocentric.episodes.corpus_export import EpisodeFiles, export_corpus
from activemimic_training.egocentric.spatial.geometry import inverse, so3_exp, transform
from activemimic_training.egocentric.spatial.pose_trajectory import EgoTrajectory
from activemimic_training.egocentric.viewer.corpus_view import read_corpus
from activemimic_training.egocentric.viewer.episode_page import page_data, write_episode_page
from activemimic_training.egocentric.viewer.episode_view import EpisodeView, Layer, load_episode
from activemimic_training.egocentric.viewer.projection import AXIS_M, NEAR_M, axes, paths, project_line, upright
from activemimic_training.egocentric.viewer.rerun_recording import write_recording
from activemimic_training.egocentric_error import EgocentricError
from ego_motion import AHEAD, at_work, changed
from ego_runs import FOCAL, K, write_run
from typer.testing import CliRunner

CENTRE = K[:2, 2]


@pytest.fixture(scope="module")
def damaged() -> EgoTrajectory:
    """A short gap of the left hand, a long one of the right."""
    poses = at_work(40).bodies
    poses[10:13, 1] = np.nan
    poses[20:32, 2] = np.nan
    return changed(at_work(40), poses, np.full((40, 3), 0.75))


@pytest.fixture(scope="module")
def run(damaged: EgoTrajectory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("looking") / "run", {"kitchen": damaged, "sink": at_work(30)})


@pytest.fixture(scope="module")
def view(run: Path) -> EpisodeView:
    return load_episode(run, "kitchen_000")


def test_what_lies_before_the_camera_is_drawn_where_it_is_seen() -> None:
    (line,) = project_line(np.array([[0, 0, 1.0], [0.5, 0, 1], [0.5, -0.5, 2]]), K)
    expected = [CENTRE, CENTRE + np.array([0.5, 0]) * FOCAL, CENTRE + np.array([0.25, -0.25]) * FOCAL]
    np.testing.assert_allclose(line, expected, atol=0.06)


def test_lines_end_at_the_camera_and_at_gaps() -> None:
    behind, near = [0.1, 0, -1.0], [0.1, 0, 1.0]
    ((start, end),) = project_line(np.array([behind, near]), K)
    np.testing.assert_allclose(start, CENTRE + np.array([0.1 / NEAR_M * FOCAL, 0]), atol=0.1)
    np.testing.assert_allclose(end, CENTRE + np.array([0.1 * FOCAL, 0]), atol=0.06)
    assert project_line(np.array([behind, behind]), K) == []
    gap = [np.nan] * 3
    assert len(project_line(np.array([near, [0, 0, 1], gap, near, [0, 0, 2]]), K)) == 2


def test_paths_are_what_comes_within_the_second_seen_from_now() -> None:
    truth = at_work(40)
    layer = Layer(truth.bodies, truth.bodies_confidence, truth.bodies_observed)
    gaze, _, right = paths(layer, K, 12)
    in_camera = inverse(truth.T_world_camera[12]) @ truth.T_world_wrist[12:23, 1]
    seen = in_camera[:, :3, 3] @ K.T
    np.testing.assert_allclose(right[0], seen[:, :2] / seen[:, 2:], atol=0.06)
    np.testing.assert_allclose(gaze[0][0], CENTRE, atol=0.06)  # where it looks now: the image's centre
    assert [len(lines[0]) for lines in paths(layer, K, 37)] == [3, 3, 3]  # the episode ends
    x_axis = axes(layer, K, 12)[1][0][0]
    tip = (in_camera[0] @ [AXIS_M, 0, 0, 1])[:3] @ K.T
    np.testing.assert_allclose(x_axis, [seen[0, :2] / seen[0, 2], tip[:2] / tip[2]], atol=0.06)


def test_without_a_camera_nothing_is_drawn() -> None:
    poses = at_work(20).bodies
    poses[5, 0] = np.nan
    layer = Layer(poses, np.ones((20, 3)), np.ones((20, 3), np.bool_))
    assert paths(layer, K, 5) == [[], [], []]
    assert not any(line for hand in axes(layer, K, 5) for line in hand)


def test_up_is_as_the_camera_was_held() -> None:
    turned = np.broadcast_to(transform(so3_exp(np.array([0.4, -2.0, 1.0])), np.ones(3)), (5, 4, 4))
    level = np.broadcast_to(transform(AHEAD, np.zeros(3)), (5, 3, 4, 4))
    layer = Layer(turned[:, None] @ level, np.ones((5, 3)), np.ones((5, 3), np.bool_))
    np.testing.assert_allclose((upright(layer) @ layer.bodies)[0, 0, :3, :3], AHEAD, atol=1e-12)


def test_an_episode_is_what_its_stages_made_of_it(view: EpisodeView, damaged: EgoTrajectory) -> None:
    assert (view.name, view.task, len(view)) == ("kitchen_000", "Wipe the table", 40)
    assert view.pieces == [(0, 40)]
    assert view.estimate is not None
    np.testing.assert_allclose(view.estimate.bodies, damaged.bodies, atol=1e-12)
    assert not view.best.observed[10:13, 1].any()
    assert view.best.valid[10:13, 1].all()
    assert not view.best.valid[20:32, 2].any()
    data = page_data(view)
    assert [data["state"][frame] for frame in (0, 11, 25)] == [[2, 2, 2], [2, 1, 2], [2, 2, 0]]
    assert data["poses"][25][2] is None
    assert {(it["done"], *it["bodies"]) for it in data["findings"]} == {("interpolated", 1), ("masked", 2)}
    assert np.flatnonzero(data["blurred"]).tolist() == [7]


def test_the_page_needs_nothing_else(view: EpisodeView, tmp_path: Path) -> None:
    write_episode_page(replace(view, task="Wipe </script><b>it"), tmp_path / "deep/page.html")
    text = (tmp_path / "deep/page.html").read_text()
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)|@import|fetch\(""", text)
    assert "</script><b>" not in text
    data = json.loads(re.search(r'<script id="data" type="application/json">(.*)</script>', text).group(1))
    assert data["frames"] == len(data["drawn"]) == 40
    assert "interpolated" in text


def test_the_page_shows_what_there_is_of_a_run_that_is_half_done(damaged: EgoTrajectory, tmp_path: Path) -> None:
    half = load_episode(write_run(tmp_path / "half", {"kitchen": damaged}, until="camera"), "kitchen_000")
    assert half.cleaned is None
    assert half.best.valid[0].all()
    early = load_episode(write_run(tmp_path / "early", {"kitchen": damaged}, until="frames"), "kitchen_000")
    assert not early.best.valid.any()
    write_episode_page(early, tmp_path / "early.html")
    assert "no poses yet" in (tmp_path / "early.html").read_text()


def test_an_episode_is_found_by_its_folder_and_missed_by_name(run: Path) -> None:
    assert load_episode(run / "items/sink/quality/sink_000").name == "sink_000"
    with pytest.raises(EgocentricError, match=r"episode sink_001: expected one of its 2 \(kitchen_000, sink_000"):
        load_episode(run, "sink_001")
    with pytest.raises(EgocentricError, match=r"run: expected the name of an episode as well, one of kitchen_000"):
        load_episode(run)
    result = CliRunner().invoke(app, ["ego", "view", str(run / "nowhere"), "sink_000"])
    assert "expected the folder of a run" in result.output
    assert result.exit_code == 1


def test_quality_of_other_frames_is_not_drawn_over_these(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"sink": at_work(30)})
    report = run / "items/sink/quality/sink_000/quality.json"
    report.write_text(report.read_text().replace('"frames": 30', '"frames": 29'))
    with pytest.raises(EgocentricError, match=r"quality.json: frames: expected 30 .*, found 29; bring the run up"):
        load_episode(run, "sink_000")


def test_an_episode_of_an_exported_corpus_has_a_page_too(run: Path, damaged: EgoTrajectory, tmp_path: Path) -> None:
    files = [
        EpisodeFiles(
            f"{name}_000",
            run / f"items/{name}/quality/{name}_000/000/trajectory.npz",
            run / f"items/{name}/frames/{name}_000/frames.mp4",
            0,
            "Wipe it",
        )
        for name in ("kitchen", "sink")
    ]
    export_corpus(files, tmp_path / "corpus", 64, workers=1)
    found = load_episode(tmp_path / "corpus", "1")
    np.testing.assert_allclose(found.best.bodies[3], load_episode(run, "sink_000").best.bodies[3], atol=1e-12)
    write_episode_page(found, tmp_path / "one.html")
    with pytest.raises(EgocentricError, match="expected the number of an episode, 0 to 1, found 2"):
        load_episode(tmp_path / "corpus", "2")


@pytest.mark.skipif(importlib.util.find_spec("rerun") is None, reason="rerun-sdk is not installed")
def test_a_rerun_recording_holds_every_frame(view: EpisodeView, tmp_path: Path) -> None:
    write_recording(view, tmp_path / "kitchen.rrd")
    recorded = (tmp_path / "kitchen.rrd").read_bytes()
    assert recorded[:3] == b"RRF"
    for name in (b"world/camera/image", b"world/left_wrist", b"confidence/right_wrist"):
        assert name in recorded


@pytest.mark.skipif(importlib.util.find_spec("rerun") is not None, reason="rerun-sdk is installed")
def test_without_rerun_one_line_says_what_to_install(run: Path, tmp_path: Path) -> None:
    words = ["ego", "view", str(run), "sink_000", "--out", str(tmp_path / "a.html"), "--rerun", str(tmp_path / "a.rrd")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert "needs rerun-sdk" in result.output
    assert (tmp_path / "a.html").exists()


def test_a_corpus_is_counted_over_what_its_stages_kept_and_left_out(run: Path, tmp_path: Path) -> None:
    found = read_corpus(run)
    assert (found.items, found.video_s, found.finished["quality"]) == (2, 60.0, 2)
    assert found.verbs == {"wipe": 2}
    assert found.nouns == {"table": 2, "cloth": 2}
    assert (found.segment_s, found.kept_s) == ([4.0, 3.0], [4.0, 3.0])
    assert {stage: dict(reasons) for stage, reasons in found.reasons.items() if reasons} == {
        "segment": {"… s long, below … s": 2},
        "filter": {"not indoors": 2},
        "frames": {"… s between two gaps of the video, below … s": 2},
    }
    assert found.hands == {"both": 58, "left alone": 12, "right alone": 0, "none": 0}
    assert found.findings["unseen", "masked"] == 12
    assert len(found.scale_spread) == 2
    assert found.scale_spread[0] == pytest.approx(0.05, abs=0.02)
    result = CliRunner().invoke(app, ["ego", "corpus", str(run), "--out", str(tmp_path / "corpus.html")])
    assert result.exit_code == 0
    assert "not indoors" in (tmp_path / "corpus.html").read_text()


def test_a_corpus_page_of_a_run_that_only_began(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"kitchen": at_work(20)}, until="ingest")
    failure = {"stage": "segment", "error": "<no> segments", "key": {}}
    (run / "quarantine/kitchen.json").write_text(json.dumps(failure))
    result = CliRunner().invoke(app, ["ego", "corpus", str(run), "--out", str(tmp_path / "corpus.html")])
    assert result.exit_code == 0, result.output
    assert "&lt;no&gt; segments" in (tmp_path / "corpus.html").read_text()
