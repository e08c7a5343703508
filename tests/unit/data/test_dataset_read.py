"""The dataset's folder is what LeRobot expects, and a reader that finds it damaged says where."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import synthetic
from activemimic_data.dataset import Dataset, DatasetError, build_dataset
from activemimic_description.interface import fingerprint
from activemimic_training.analysis.inspect import compare, inspect_datasets
from synthetic import FPS, EpisodeMaker


@pytest.fixture(scope="session")
def root(episodes: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("read") / "ds"
    build_dataset(episodes, out, FPS, workers=1)
    return out


def test_a_dataset_offers_columns_frames_and_episodes(root: Path) -> None:
    dataset = Dataset(root)
    assert dataset.fps == FPS
    assert len(dataset.slots) == 20
    assert dataset.cameras == ["head", "left_wrist", "right_wrist"]
    assert dataset.tasks == ["grasp the cube", "grasp the cube behind the wall"]
    assert [(e.start, e.stop, e.task) for e in dataset.episodes] == [
        (0, 23, dataset.tasks[0]),
        (23, 40, dataset.tasks[1]),
        (40, 60, dataset.tasks[0]),
    ]
    assert dataset.state.shape == dataset.action.shape == (60, 20)
    assert dataset.state.dtype == dataset.action.dtype == np.float32
    assert dataset.task_index.tolist() == [0] * 23 + [1] * 17 + [0] * 20
    frames = list(dataset.frames("left_wrist", 1))
    assert len(frames) == 17
    assert (frames[0].shape, frames[0].dtype) == ((224, 224, 3), np.uint8)


def test_the_tables_have_the_columns_that_info_declares(root: Path) -> None:
    info = json.loads((root / "meta/info.json").read_text())
    (data,) = (root / "data").rglob("*.parquet")
    declared = {key: value for key, value in info["features"].items() if value["dtype"] != "video"}
    table = pq.read_table(data)
    assert set(table.column_names) == set(declared)  # LeRobot refuses a column more or less
    for key, feature in declared.items():
        kind = table.schema.field(key).type
        if feature["shape"] == [1]:
            assert str(kind).replace("double", "float64").replace("float", "float32") == feature["dtype"], key
        else:
            assert str(kind) == f"fixed_size_list<element: float>[{feature['shape'][0]}]", key
        assert feature["names"] is None or len(feature["names"]) == feature["shape"][0]
        assert "/" not in key
    assert pq.ParquetFile(data).num_row_groups == 3


def test_timestamps_lie_on_the_grid_of_each_episode(root: Path) -> None:
    dataset = Dataset(root)
    for episode in dataset.episodes:
        rows = slice(episode.start, episode.stop)
        length = episode.stop - episode.start
        np.testing.assert_array_equal(dataset.column("frame_index")[rows], np.arange(length))
        np.testing.assert_allclose(dataset.column("timestamp")[rows], np.arange(length) / FPS, atol=1e-6)
        assert set(dataset.column("episode_index")[rows].tolist()) == {episode.index}
    np.testing.assert_array_equal(dataset.column("index"), np.arange(60))


def test_tasks_are_a_pandas_frame_indexed_by_their_text(root: Path) -> None:
    tasks = pd.read_parquet(root / "meta/tasks.parquet")
    assert tasks.iloc[1].name == "grasp the cube behind the wall"
    assert tasks["task_index"].tolist() == [0, 1]


def test_statistics_describe_columns_and_images(root: Path) -> None:
    dataset = Dataset(root)
    state = dataset.stats["observation.state"]
    np.testing.assert_allclose(state["mean"], dataset.state.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(state["q99"], np.quantile(dataset.state.astype(float), 0.99, axis=0))
    assert state["count"] == [60]
    head = dataset.stats["observation.images.head"]
    assert np.array(head["mean"]).shape == (3, 1, 1)
    (episode_table,) = (root / "meta/episodes").rglob("*.parquet")
    episodes = pd.read_parquet(episode_table)
    counts = np.array([row[0] for row in episodes["stats/observation.images.head/count"]])
    means = np.array([_first(row) for row in episodes["stats/observation.images.head/mean"]])
    assert head["count"] == [counts.sum()]
    np.testing.assert_allclose(_first(head["mean"]), (means * counts).sum() / counts.sum())
    assert 0 <= _first(head["min"]) < _first(head["mean"]) < _first(head["max"]) <= 1


def _first(nested: Any) -> float:
    while not isinstance(nested, float):
        nested = nested[0]
    return nested


def edit_json(name: str, change: Callable[[dict], object]) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        data = json.loads((root / name).read_text())
        change(data)
        (root / name).write_text(json.dumps(data))

    return edit


def edit_episodes(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        (path,) = (root / "meta/episodes").rglob("*.parquet")
        change(pd.read_parquet(path)).to_parquet(path)

    return edit


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda root: (root / "meta/info.json").unlink(), r"info\.json: cannot be read"),
        (lambda root: (root / "meta/info.json").write_text("[]"), r"info\.json: expected an object, found list"),
        (edit_json("meta/info.json", lambda d: d.pop("fps")), r"info\.json: fps: missing"),
        (
            edit_json("meta/info.json", lambda d: d.update(codebase_version="v2.1")),
            r"codebase_version: expected v3\.0, found 'v2\.1'",
        ),
        (edit_json("meta/info.json", lambda d: d["features"].pop("action")), r"features\.action: missing"),
        (
            edit_json("meta/info.json", lambda d: d["features"].pop("observation.images.head")),
            r"features: expected cameras \['head', .* found \['left_wrist', 'right_wrist'\]",
        ),
        (edit_json("meta/info.json", lambda d: d.update(total_frames=59)), "total_frames: expected 60 .* found 59"),
        (edit_json("meta/activemimic.json", lambda d: d.pop("contract")), r"activemimic\.json: contract: missing"),
        (
            edit_json("meta/activemimic.json", lambda d: d["interface"].update(robot="g2")),
            r"activemimic\.json: fingerprint: expected",
        ),
        (lambda root: (root / "meta/tasks.parquet").unlink(), r"tasks\.parquet: cannot be read"),
        (lambda root: shutil.rmtree(root / "meta/episodes"), r"meta/episodes: missing"),
        (edit_episodes(lambda t: t.drop(columns="length")), "columns missing: length"),
        (
            edit_episodes(lambda t: t.assign(dataset_to_index=t["dataset_to_index"] + 1)),
            r"row 0: expected EpisodeRow\(index=0, start=0, stop=23.*found .*stop=24",
        ),
        (edit_episodes(lambda t: t.assign(tasks=[["dance"]] * 3)), "task 'dance' of episode 0 missing"),
        (lambda root: next((root / "data").rglob("*.parquet")).write_bytes(b"x"), r"file-000\.parquet: cannot be read"),
        (
            lambda root: shutil.rmtree(root / "videos/observation.images.head"),
            r"observation\.images\.head/.*file-000\.mp4: cannot be opened",
        ),
        (
            lambda root: shutil.copy(
                root / "videos/observation.images.head/chunk-000/file-001.mp4",
                root / "videos/observation.images.head/chunk-000/file-000.mp4",
            ),
            r"file-000\.mp4: expected 23 frames from 0\.000 s on, found 17",
        ),
    ],
)
def test_a_damaged_dataset_names_file_and_field(
    root: Path, tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    copy = Path(shutil.copytree(root, tmp_path / "ds"))
    damage(copy)
    with pytest.raises(DatasetError, match=said):
        read_everything(copy)


def read_everything(root: Path) -> None:
    dataset = Dataset(root)
    for camera in dataset.cameras:
        for episode in dataset.episodes:
            for _ in dataset.frames(camera, episode.index):
                pass
    _ = dataset.state


def test_an_unknown_column_or_camera_names_those_there_are(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"no column 'reward': expected one of observation\.state"):
        Dataset(root).column("reward")
    with pytest.raises(DatasetError, match="no camera 'chest': expected one of head"):
        Dataset(root).frames("chest", 0)


def test_the_inspection_page_stands_alone_and_names_what_is_odd(
    make_episode: EpisodeMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(frame: int, phase: float) -> np.ndarray:
        slots = np.sin(frame / 3 + np.arange(20)) * 0.1 + 0.3
        slots[4] = 0.25  # left_arm_1 stands still
        slots[3] = 0.6 if frame == 5 else 0.2 + frame / 100  # the lift's travel ends at 0.55 m
        return slots

    monkeypatch.setattr("synthetic.joints", odd)
    make_episode(tmp_path / "bag", frames=18, instruction="grasp <the> cube")
    build_dataset([tmp_path / "bag"], tmp_path / "ds", FPS, workers=1)
    (report,) = inspect_datasets([tmp_path / "ds"], tmp_path / "ds.html")
    assert report.near_constant == ["left_arm_1"]
    assert report.out_of_range == ["waist_lift"]
    assert report.slots[3].rows_out_of_range == 1
    assert report.rows == 17
    page = (tmp_path / "ds.html").read_text()
    assert "Nearly constant slots: left_arm_1" in page
    assert "grasp &lt;the&gt; cube" in page
    assert page.count("data:image/png;base64,") == 7  # a strip for each camera, the plot, and distributions
    assert "http" not in page


def test_datasets_side_by_side_are_measured_against_the_first(
    make_episode: EpisodeMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_episode(tmp_path / "bag")
    with monkeypatch.context() as patched:
        joints = synthetic.joints
        patched.setattr("synthetic.joints", lambda frame, phase: joints(frame, phase) + 10 * (np.arange(20) == 4))
        make_episode(tmp_path / "shifted")
    for name in ("bag", "shifted"):
        build_dataset([tmp_path / name], tmp_path / f"{name}_ds", FPS, workers=1)

    def rename(about: dict) -> None:
        about["interface"]["robot"] = "somebody"  # whose limits nobody has described
        about["fingerprint"] = fingerprint(about["interface"])

    edit_json("meta/activemimic.json", rename)(tmp_path / "shifted_ds")
    first, other = inspect_datasets([tmp_path / "bag_ds", tmp_path / "shifted_ds"], tmp_path / "page.html")
    assert (first.out_of_range, other.out_of_range) == ([], [])
    assert np.isnan(other.slots[4].upper)
    differences = {found.slot: found for found in compare(Dataset(tmp_path / "bag_ds"), Dataset(other.root))}
    std = Dataset(tmp_path / "bag_ds").state[:, 4].std()
    assert differences["left_arm_1"].mean_z == pytest.approx(10 / std, rel=1e-3)
    assert differences["left_arm_2"].mean_z == pytest.approx(0.0, abs=1e-6)
    assert differences["left_arm_1"].spread == pytest.approx(1.0, abs=1e-3)
    page = (tmp_path / "page.html").read_text()
    assert "left_arm_1 of shifted_ds lies +" in page
    assert "left_arm_2 of shifted_ds" not in page
    assert "Robot somebody" in page


@pytest.mark.skipif(importlib.util.find_spec("lerobot") is None, reason="lerobot is not installed here (optional)")
def test_lerobot_loads_the_dataset_with_its_own_code(root: Path, episodes: list[Path], tmp_path: Path) -> None:
    older = importlib.metadata.version("lerobot") < "0.4"  # reads v2.1, and from 0.4 on v3.0
    checked = root
    if older:
        checked = build_dataset(episodes, tmp_path / "v2.1", FPS, workers=1, version="v2.1").root
    check = Path(__file__).with_name("lerobot_check.py")
    environment = {**os.environ, "HF_DATASETS_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    environment["PYTHONPATH"] = str(Path(synthetic.__file__).parent)
    result = subprocess.run(
        [sys.executable, str(check), str(checked)], capture_output=True, text=True, env=environment, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    loaded = json.loads(result.stdout.splitlines()[-1])
    dataset = Dataset(root)
    assert (loaded["rows"], loaded["episodes"]) == (60, 3)
    assert loaded["task_of_row_30"] == "grasp the cube behind the wall"
    np.testing.assert_allclose(loaded["state_of_row_30"], dataset.state[30], atol=1e-6)
    np.testing.assert_allclose(loaded["actions_from_row_30"], dataset.action[30:32], atol=1e-6)
    assert sorted(dataset.features) == loaded["stats"]
    # It warns where torchcodec is not installed, and of nothing else.
    assert [line for line in result.stderr.splitlines() if "WARN" in line and "torchcodec" not in line] == []
    for number, camera in enumerate(dataset.cameras):
        expected = [1000 * number + row for length in (23, 17, 20) for row in range(length)]
        assert loaded["numbers"][f"observation.images.{camera}"] == expected
