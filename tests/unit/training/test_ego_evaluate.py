"""Estimates held against the truth."""

import json

import numpy as np
import pytest
from activemimic_bringup.cli.main import app
from activemimic_training.egocentric.quality.evaluate import EvaluateConfig, evaluate, load_evaluate_config
from activemimic_training.egocentric.quality.metrics import PathErrors, PoseErrors, area_under_recall
from activemimic_training.egocentric.spatial.geometry import se3_exp, so3_exp
from activemimic_training.egocentric_error import EgocentricError
from ego_motion import at_work, changed, noisy
from typer.testing import CliRunner

TRUTH = at_work(50)
TURN = np.array([0.0, 0, 0, 0.2, -0.3, 0.4])


def save(folder, trajectory, name="v_000"):
    path = folder / name / "trajectory.npz"
    path.parent.mkdir(parents=True)
    trajectory.save(path)


@pytest.fixture
def folders(tmp_path):
    save(tmp_path / "truth", TRUTH)
    return tmp_path / "predicted", tmp_path / "truth"


def figures(folders, estimate, config=None):
    save(folders[0], estimate)
    return evaluate(*folders, config)


def test_the_truth_in_another_world_is_perfect(folders):
    found = figures(folders, changed(TRUTH, se3_exp(TURN + 2) @ TRUTH.bodies))
    for body in found["bodies"].values():
        assert body["recovery"] == {"strict": 1.0}
        assert body["auc_position"] == pytest.approx(1)
        assert body["median_m"] < 1e-12
        assert body["jitter_m_s2"] == pytest.approx(body["truth_jitter_m_s2"])
    assert max(found["path"]["ate_m"].values()) < 1e-12
    assert found["path"]["abs_log_scale"] < 1e-12


def test_missing_frames_are_not_recovered(folders):
    poses = TRUTH.bodies
    poses[10:20, 1] = np.nan
    poses[40:, 0] = np.nan  # and without a camera the hands have no frame
    bodies = figures(folders, changed(TRUTH, poses))["bodies"]
    assert [bodies[name]["coverage"] for name in ("camera", "left_wrist", "right_wrist")] == [0.8, 0.6, 0.8]
    assert [bodies[name]["recovery"]["strict"] for name in ("camera", "left_wrist", "right_wrist")] == [0.8, 0.6, 0.8]
    assert bodies["left_wrist"]["ladder"] == [[0.6] * 4] * 5
    assert bodies["left_wrist"]["auc_position"] == pytest.approx(0.6)
    assert bodies["left_wrist"]["median_m"] < 1e-12, "of those there are"


def test_what_has_no_truth_is_not_asked_for(tmp_path):
    poses = TRUTH.bodies
    poses[:25, 2] = np.nan
    poses[40:, 0] = np.nan
    save(tmp_path / "truth", changed(TRUTH, poses))
    save(tmp_path / "predicted", TRUTH)
    bodies = evaluate(tmp_path / "predicted", tmp_path / "truth")["bodies"]
    assert [it["frames"] for it in bodies.values()] == [40, 40, 15]
    assert [it["recovery"]["strict"] for it in bodies.values()] == [1, 1, 1]


def test_the_tiers_are_tolerances_of_position_and_rot6d(folders):
    poses = TRUTH.bodies
    poses[:, 1] = poses[:, 0] @ se3_exp(np.array([0.3, 0, 0, 0, 0, 0])) @ np.linalg.inv(poses[:, 0]) @ poses[:, 1]
    poses[:, 2] = poses[:, 2] @ se3_exp(np.array([0, 0, 0, 0, 0, 0.4]))  # about z: both columns turn
    tiers = {"wide": {"position_m": 0.31, "rot6d_l2": 0.6}, "near": {"position_m": 0.29, "rot6d_l2": 0.6}}
    tiers["turned"] = {"position_m": 1.0, "rot6d_l2": 2 * np.sin(0.2) * np.sqrt(2) - 1e-6}
    found = figures(folders, changed(TRUTH, poses), EvaluateConfig.model_validate({"tiers": tiers}))["bodies"]
    assert found["left_wrist"]["recovery"] == {"wide": 1, "near": 0, "turned": 1}
    assert found["right_wrist"]["recovery"] == {"wide": 1, "near": 1, "turned": 0}
    assert found["right_wrist"]["median_deg"] == pytest.approx(np.degrees(0.4))
    assert found["left_wrist"]["ladder"] == [[0] * 4] * 3 + [[1] * 4] * 2


def test_a_hands_constant_offset_is_found_and_taken_off(folders):
    poses = TRUTH.bodies
    poses[:, 2] = poses[:, 2] @ se3_exp(np.array([0, 0, 0, 0.9, 0.6, 0.3]))
    found = figures(folders, changed(TRUTH, poses))
    assert found["bodies"]["right_wrist"]["recovery"]["strict"] == 0
    assert found["calibrated"]["right_wrist"]["recovery"]["strict"] == 1
    assert found["calibrated"]["right_wrist"]["frames"] == 40, "the first fifth is not asked again"
    assert found["offset_deg"]["right_wrist"] == pytest.approx(np.degrees(np.linalg.norm([0.9, 0.6, 0.3])))
    # What takes it away, for the settings of a backend: estimated @ exp(vector) is the truth.
    assert found["offset_vector_deg"]["right_wrist"] == pytest.approx(np.degrees([-0.9, -0.6, -0.3]))
    assert found["offset_deg"]["left_wrist"] == pytest.approx(0, abs=1e-5)


def test_an_offset_that_changes_is_not_taken_off(folders):
    poses = TRUTH.bodies
    poses[:, 2, :3, :3] = poses[:, 2, :3, :3] @ so3_exp(np.linspace(0, 3, 50)[:, None] * [0, 0, 1.0])
    found = figures(folders, changed(TRUTH, poses))
    assert found["calibrated"]["right_wrist"]["recovery"]["strict"] < 0.2


def test_a_false_scale_is_found_by_sim3_alone(folders):
    poses = TRUTH.bodies
    poses[..., :3, 3] *= 1.5
    path = figures(folders, changed(TRUTH, poses))["path"]
    assert path["abs_log_scale"] == pytest.approx(np.log(1.5))
    assert path["ate_m"]["sim3"] < 1e-9 < 0.01 < path["ate_m"]["se3"] <= path["ate_m"]["raw"]
    assert path["rpe_m"]["sim3"] < 1e-9 < path["rpe_m"]["se3"]


def test_a_camera_that_stands_still_has_no_alignment():
    still = np.tile(np.eye(4), (30, 1, 1))
    found = PathErrors.of(still, still, 10)
    assert found.ate_m["raw"] == 0
    assert np.isnan([found.ate_m["se3"], found.ate_m["sim3"], found.abs_log_scale]).all()


def test_pieces_of_a_split_episode_count_together(folders):
    moved = changed(TRUTH, se3_exp(TURN) @ TRUTH.bodies)
    save(folders[0], TRUTH.between(0, 20), "v_000/000")
    save(folders[0], moved.between(25, 50), "v_000/001")  # in a world of its own
    save(folders[0], TRUTH, "v_001")
    found = evaluate(*folders)
    assert found["bodies"]["camera"]["coverage"] == 0.9
    assert found["bodies"]["camera"]["recovery"]["strict"] == 0.9
    assert found["by_episode"]["v_000"]["pieces"] == 2
    assert [path.split("/")[-2] for path in found["unmatched"]] == ["v_001"]


def test_an_episode_without_any_estimate_counts_as_missing(folders):
    save(folders[1], at_work(50, 2), "v_001")
    found = figures(folders, TRUTH)
    assert found["bodies"]["camera"]["coverage"] == 0.5
    assert found["by_episode"]["v_001"]["bodies"]["camera"]["recovery"] == {"strict": 0}


def test_jitter_is_that_of_the_estimate(folders):
    found = figures(folders, changed(TRUTH, noisy(TRUTH, 0.01)))["bodies"]["camera"]
    # Second differences of noise of 1 cm on three axes: sqrt(3 * 6) cm a tenth of a second squared.
    assert found["jitter_m_s2"] == pytest.approx(0.01 * np.sqrt(18) * 100, rel=0.2)
    assert found["truth_jitter_m_s2"] < 0.5


def test_areas_and_errors_of_single_numbers():
    assert area_under_recall(np.array([0, 0.4, 0.8, 5, np.nan]), 0.8) == pytest.approx((1 + 0.5) / 5)
    T = np.tile(np.eye(4), (2, 1, 1))
    T[1] = np.nan
    errors = PoseErrors.of(T, np.tile(np.eye(4), (2, 1, 1)))
    assert errors.recovered(0.8, 0.6) == 0.5


def test_what_cannot_be_compared_is_named(folders, tmp_path):
    with pytest.raises(EgocentricError, match=r"predicted: missing; expected a trajectory"):
        evaluate(*folders)
    (tmp_path / "empty").mkdir()
    with pytest.raises(EgocentricError, match=r"empty: no trajectory; expected NAME.npz or NAME/trajectory.npz"):
        evaluate(tmp_path / "empty", folders[1])
    save(folders[0], TRUTH, "w_000")
    with pytest.raises(EgocentricError, match=r"no trajectory of an episode .* expected v_000, found w_000"):
        evaluate(*folders)


def test_a_configuration_is_read_strictly(tmp_path):
    path = tmp_path / "evaluate.yaml"
    path.write_text("tiers: {loose: {position_m: 1.5, rot6d_l2: 1.0}}\nmatch_ms: 10\n")
    config = load_evaluate_config(path)
    assert (list(config.tiers), config.match_ms) == (["loose"], 10)
    path.write_text("tiers: {loose: {position: 1.5}}\n")
    with pytest.raises(EgocentricError, match=r"evaluate.yaml: .*tiers.loose"):
        load_evaluate_config(path)


def test_the_command_prints_and_writes_figures(folders, tmp_path):
    save(folders[0], changed(TRUTH, noisy(TRUTH, 0.02, 0.02)))
    out = tmp_path / "out/figures.json"
    result = CliRunner().invoke(app, ["ego", "evaluate", *map(str, folders), "--json", str(out)])
    assert result.exit_code == 0, result.output
    assert "1 episodes, 50 frames of truth" in result.output
    assert json.loads(out.read_text())["bodies"]["camera"]["recovery"]["strict"] == 1.0
    (folders[0] / "v_000/trajectory.npz").write_bytes(b"nothing")
    result = CliRunner().invoke(app, ["ego", "evaluate", *map(str, folders)])
    assert result.exit_code == 1
