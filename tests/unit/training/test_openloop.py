"""A policy on recorded observations: chunks beside what was recorded, and drawn where the camera sees them."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from activemimic_data.dataset import Dataset, build_dataset
from activemimic_description.kinematics import camera_pose
from activemimic_description.robot import load_robot
from activemimic_policy.spec import PolicySpec
from activemimic_training.analysis import OpenLoopError, predict_episode, run_openloop
from activemimic_training.analysis import open_loop_page as page
from activemimic_training.analysis.traces import PREDICTED, draw_traces, project
from synthetic import FPS, image_number

HORIZON, EXECUTE = 4, 3


class KnowsTheEpisode:
    """Gives the recorded actions of the episode's rows, plus `off`: finds the row by the number in the head image."""

    def __init__(self, dataset: Dataset, fps: int, off: float = 0.0) -> None:
        self.stride, self.off = dataset.fps // fps, off
        self.dataset, self.asked = dataset, []
        self.spec = PolicySpec(
            cameras=("head", "left_wrist"),
            slots=tuple(dataset.slots),
            absolute_slots=(),
            fps=fps,
            horizon=HORIZON,
            execution_horizon=EXECUTE,
            num_inference_steps=1,
            relative_knee=1.0,
            instructions=tuple(dataset.tasks),
            interface=dataset.interface,
            fingerprint=dataset.fingerprint,
        )

    def infer(self, images: Mapping[str, np.ndarray], state: np.ndarray, instruction: str, noise: Any) -> np.ndarray:
        row = image_number(images["head"])
        self.asked.append((row, image_number(images["left_wrist"]), instruction, state))
        due = row + self.stride * np.arange(1, HORIZON + 1) - 1
        return self.dataset.action[np.minimum(due, self.dataset.episodes[0].stop - 1)] + self.off


@pytest.fixture(scope="module")
def dataset(episodes: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return Dataset(build_dataset(episodes, tmp_path_factory.mktemp("openloop") / "ds", FPS, workers=1).root)


@pytest.mark.parametrize("fps", [30, 10])
def test_a_policy_that_knows_the_episode_has_no_error(dataset: Dataset, fps: int) -> None:
    policy = KnowsTheEpisode(dataset, fps)
    prediction = predict_episode(policy, dataset, 0)  # type: ignore[arg-type]
    every = EXECUTE * FPS // fps
    rows = list(range(0, 23, every))
    assert prediction.starts.tolist() == rows
    assert [(row, wrist, told) for row, wrist, told, _ in policy.asked] == [
        (row, row + 1000, dataset.tasks[0]) for row in rows
    ]
    np.testing.assert_array_equal([state for *_, state in policy.asked], dataset.state[rows])
    assert np.nanmax(prediction.error) == 0
    beyond = np.isnan(prediction.recorded).all(axis=2)
    assert beyond.sum() == sum(row + k * FPS // fps - 1 >= 23 for row in rows for k in range(1, HORIZON + 1)) > 0


def test_the_page_stands_alone_and_tells_the_error(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "load_policy", lambda *_, **__: KnowsTheEpisode(dataset, 30, off=0.25))
    report = run_openloop("ck", dataset.root, tmp_path / "out", [0])
    np.testing.assert_allclose(report.error, 0.25, atol=1e-6)
    text = report.page.read_text()
    assert "http" not in text
    assert text.count("data:image/png;base64,") == 2
    assert "worse than staying" in text
    with (tmp_path / "out/errors.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["due_s"]) for row in rows] == pytest.approx([1 / 30, 2 / 30, 3 / 30, 4 / 30], rel=1e-5)
    assert float(rows[2]["waist_lift"]) == pytest.approx(0.25, abs=1e-6)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == [
        "episode_000000.png",
        "episode_000000_traces.png",
    ]


def test_what_does_not_fit_is_named(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = KnowsTheEpisode(dataset, 10)
    monkeypatch.setattr(page, "load_policy", lambda *_, **__: policy)
    with pytest.raises(OpenLoopError, match="episode 3: expected one from 0 to 2"):
        run_openloop("ck", dataset.root, tmp_path / "out", [0, 3])
    policy.spec = policy.spec.model_copy(update={"fps": 20})
    with pytest.raises(OpenLoopError, match="fps: expected a multiple of the policy's 20, found 30"):
        run_openloop("ck", dataset.root, tmp_path / "out")
    other = {**dataset.interface, "cameras": {"head": {"width": 640, "height": 480}}}
    policy.spec = policy.spec.model_copy(update={"interface": other})
    with pytest.raises(OpenLoopError, match="camera head: width 640 in the checkpoint, 224 in the dataset"):
        run_openloop("ck", dataset.root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_points_are_projected_as_the_camera_sees_them() -> None:
    robot = load_robot("g1")
    T = camera_pose(robot, "head", robot.joint_positions(robot.home))
    half = np.tan(np.deg2rad(robot.cameras["head"].fovy_deg) / 2)
    # In the camera's frame, x right, y down, z forward: the middle, the lower edge, the right edge, and behind.
    seen = np.array([[0, 0, 2], [0, 2 * half, 2], [half, 0, 1], [0, 0, -1]])
    pixels = project(robot, "head", robot.home, seen @ T[:3, :3].T + T[:3, 3], (224, 224))
    np.testing.assert_allclose(pixels[:3], [[112, 112], [112, 224], [224, 112]], atol=1e-9)
    assert np.isnan(pixels[3]).all()


def test_a_hand_that_moves_leaves_a_trace_and_one_past_the_episode_none() -> None:
    robot = load_robot("g1")
    posture = robot.home.copy()
    posture[0] = 0.7  # towards the left hand, which is outside the image otherwise
    ahead = np.tile(posture, (5, 1))
    ahead[:, 4:11] += np.linspace(0.02, 0.2, 5)[:, None]
    black, nothing = np.zeros((224, 224, 3), np.uint8), np.full_like(ahead, np.nan)
    drawn = draw_traces(robot, black, posture, ahead, nothing)
    assert drawn.shape == (448, 448, 3)
    assert (drawn == PREDICTED).all(axis=2).sum() > 20
    assert not draw_traces(robot, black, posture, nothing, nothing).any()
