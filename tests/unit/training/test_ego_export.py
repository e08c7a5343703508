"""A corpus written and read back: poses, flags, images, and the targets made of them."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from activemimic_data.dataset import Dataset, DatasetError
from activemimic_data.dataset.video import VideoWriter
from activemimic_policy.unified_action import UNIFIED_SLOTS
from activemimic_training.egocentric.episodes.corpus_export import EpisodeFiles, export_corpus
from activemimic_training.egocentric.episodes.load import POSE, load_ego_rows
from activemimic_training.egocentric.episodes.targets import chunk_targets
from activemimic_training.egocentric.quality.quality import check_quality
from activemimic_training.egocentric.spatial.geometry import poses_of_action
from activemimic_training.egocentric.spatial.pose_trajectory import STEP_NS
from ego_motion import at_work, changed

PX = 32
START_NS = 20 * STEP_NS  # the frames begin before the trajectory does


def grey(frame):
    """Far from that of the frames around."""
    return 37 * frame % 256


def episode(folder, name, trajectory, size=(48, 36), instruction="wipe the table"):
    """Frame k of the video, counted from the clock's START_NS, is of the grey grey(k)."""
    folder.mkdir(exist_ok=True)
    trajectory.save(folder / f"{name}.npz")
    writer = VideoWriter(folder / f"{name}.mp4", 10, *size)
    for frame in range((int(trajectory.time_ns[-1]) - START_NS) // STEP_NS + 3):
        writer.add(np.full((size[1], size[0], 3), grey(frame), np.uint8))
    writer.close()
    return EpisodeFiles(name, folder / f"{name}.npz", folder / f"{name}.mp4", START_NS, instruction)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Two episodes of videos of different sizes; in the first a hand is unseen for a while."""
    root = tmp_path_factory.mktemp("corpus")
    poses = at_work(30, start_ns=START_NS + 5 * STEP_NS).bodies
    poses[..., :3, 3] += [8.0, -8.0, 0]  # far from the world's origin
    poses[10:20, 2] = np.nan
    first = changed(at_work(30, start_ns=START_NS + 5 * STEP_NS), poses, np.full((30, 3), 0.75))
    second = at_work(25, 1.0, START_NS)
    made = [episode(root / "in", "a_000", first), episode(root / "in", "b_000", second, (36, 48), "open the drawer")]
    result = export_corpus(made, root / "out", PX, workers=1, source={"licences": ["CC-BY-NC-4.0"]})
    assert (result.episodes, result.frames, result.skipped) == (2, 55, [])
    return Dataset(root / "out"), [first, second]


def test_the_targets_are_those_of_the_trajectories(corpus):
    dataset, trajectories = corpus
    rows = load_ego_rows(dataset)
    assert rows.last.tolist() == [29] * 30 + [54] * 25
    for start, trajectory in zip((0, 30), trajectories, strict=True):
        frames = np.arange(len(trajectory))
        last = np.full(len(trajectory), len(trajectory) - 1)
        expected, counted = chunk_targets(trajectory.bodies, trajectory.bodies_valid, last, frames, 50)
        found, mask = rows.targets(start + frames, 50)
        np.testing.assert_array_equal(mask, counted)
        np.testing.assert_allclose(found, expected, atol=1e-12)
    assert rows.starts.tolist() == [*range(29), *range(30, 54)]
    assert not rows.valid[10:20, 2].any()
    assert np.unique(rows.confidence[:10]) == 0.75
    assert rows.statistics(5).count[26] < rows.statistics(5).count[0]


def test_state_and_action_are_unified_and_tell_the_same_motion(corpus):
    dataset, (first, _) = corpus
    assert dataset.slots == list(UNIFIED_SLOTS)
    assert (dataset.fps, dataset.cameras, dataset.interface["robot"]) == (10, ["head"], "person")
    assert [slot["unit"] for slot in dataset.interface["slots"][:4]] == ["m", "m", "m", "1"]
    camera = first.T_world_camera[4]
    for values, frame in ((dataset.state[4], 4), (dataset.action[4], 5)):
        seen = np.linalg.inv(camera) @ first.bodies[frame]
        np.testing.assert_allclose(poses_of_action(values.astype(np.float64)), seen, atol=1e-6)
    assert dataset.column("loss_weight").tolist() == [1.0] * 29 + [0.0] + [1.0] * 24 + [0.0]
    np.testing.assert_array_equal(dataset.column("observation_stamp_ns")[:30], first.time_ns)


def test_every_row_has_its_own_image(corpus):
    dataset, _ = corpus
    middle = [frame[PX // 2, PX // 2, 0] for frame in dataset.frames("head", 0)]
    np.testing.assert_allclose(middle, [grey(frame) for frame in range(5, 35)], atol=4)
    assert next(dataset.frames("head", 1)).shape == (PX, PX, 3)
    assert [episode.task for episode in dataset.episodes] == ["wipe the table", "open the drawer"]


def test_every_number_in_the_files_is_one(corpus):
    dataset, _ = corpus
    json.loads((dataset.root / "meta/stats.json").read_text(), parse_constant=pytest.fail)
    about = json.loads((dataset.root / "meta/activemimic.json").read_text())
    assert about["source"] == {"format": "egocentric", "licences": ["CC-BY-NC-4.0"]}


def test_a_list_of_one_number_is_kept_as_lerobot_wants_it(corpus):
    dataset, _ = corpus
    (path,) = (dataset.root / "data").rglob("*.parquet")
    assert str(pq.read_schema(path).field("observation_age_ms").type) == "float"
    assert dataset.features["observation_age_ms"]["names"] == ["head"]
    assert dataset.column("observation_age_ms").shape == (55, 1)
    assert dataset.column("loss_weight").shape == (55,)


def test_quality_control_passes_its_episodes_on(tmp_path):
    truth = at_work(80, start_ns=START_NS)
    poses = truth.bodies
    poses[38:46, 0] = np.nan
    whole = episode(tmp_path / "in", "v", changed(truth, poses))
    result = check_quality(changed(truth, poses))
    result.write(tmp_path / "quality")
    parts = [
        replace(whole, name=f"v_{number:03d}", trajectory=tmp_path / f"quality/{number:03d}/trajectory.npz")
        for number in range(len(result.episodes))
    ]
    dataset = Dataset(export_corpus(parts, tmp_path / "out", PX, workers=1).root)
    assert [one.stop - one.start for one in dataset.episodes] == [38, 34]
    first = [next(dataset.frames("head", number))[PX // 2, PX // 2, 0] for number in (0, 1)]
    np.testing.assert_allclose(first, [grey(0), grey(46)], atol=4)


def test_frames_without_a_camera_split_an_episode_that_nobody_checked(tmp_path):
    truth = at_work(40, start_ns=START_NS)
    poses = truth.bodies
    poses[15:18, 0] = np.nan
    poses[38:, 0] = np.nan
    result = export_corpus([episode(tmp_path / "in", "v", changed(truth, poses))], tmp_path / "out", PX, workers=1)
    assert result.episodes == 2
    assert [(cut.from_s, cut.to_s, cut.reason) for cut in result.cuts] == [
        (1.5, 1.8, "no camera pose"),
        (3.8, 4.0, "no camera pose"),
    ]
    rows = load_ego_rows(Dataset(tmp_path / "out"))
    assert rows.last.tolist() == [14] * 15 + [34] * 20


def test_episodes_that_cannot_be_read_are_named_and_the_others_kept(tmp_path):
    good = episode(tmp_path / "in", "good", at_work(20, start_ns=START_NS))
    late = replace(episode(tmp_path / "in", "late", at_work(20, start_ns=START_NS)), frames_start_ns=START_NS + 1)
    torn = episode(tmp_path / "in", "torn", at_work(20, start_ns=START_NS))
    torn.trajectory.write_bytes(b"half")
    gone = replace(good, name="gone", frames=tmp_path / "nowhere.mp4")
    result = export_corpus([late, torn, good, gone], tmp_path / "out", PX, workers=1)
    assert result.episodes == 1
    reasons = {str(skipped.bag): skipped.reason for skipped in result.broken}
    assert "nowhere.mp4: missing; expected the frames" in reasons["gone"]
    assert "late.mp4: expected an image for each of 20 frames" in reasons["late"]
    assert "torn.npz: cannot be read as a trajectory" in reasons["torn"]
    with pytest.raises(DatasetError, match="out2: episode good: expected one of the name, found 2"):
        export_corpus([good, good], tmp_path / "out2", PX)


def test_a_dataset_of_a_robot_is_no_corpus(corpus):
    robots = SimpleNamespace(root="robots", features={"action": {}})
    with pytest.raises(DatasetError, match=r"columns missing: trajectory.pose.*expected an egocentric corpus"):
        load_ego_rows(robots)
    (path,) = (corpus[0].root / "data").rglob("*.parquet")
    assert str(pq.read_schema(path).field(POSE).type) == "fixed_size_list<element: double>[36]"
