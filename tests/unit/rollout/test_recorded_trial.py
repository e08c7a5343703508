"""What a recorded trial shows: motion, times, and its cameras as a video."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from activemimic_data.bags import BagError
from activemimic_rollout.reports.recorded_trial import RecordedTrial, write_videos
from activemimic_rollout.trials.results import Protocol, Trial, save_trials
from generated import INFERENCE_MS, LATENCY_MS, Generated, as_trial


@pytest.fixture(scope="module")
def trial(slipping: Generated, tmp_path_factory: pytest.TempPathFactory) -> RecordedTrial:
    return RecordedTrial(as_trial(slipping.made[0].folder, tmp_path_factory.mktemp("trial") / "trial"))


def test_motion_is_seconds_since_the_start_and_whole_robot_vectors(trial: RecordedTrial) -> None:
    motion = trial.motion
    assert motion.command_s[0] == motion.measured_s[0] == 0.0
    assert motion.command.shape == (len(motion.command_s), 20)
    assert motion.measured.shape == (len(motion.measured_s), 20)
    assert not np.isnan(motion.command).any()
    np.testing.assert_allclose(np.diff(motion.measured_s), 1 / 30, atol=1e-8)
    # The servos follow: what is measured lags a little behind what was commanded.
    assert np.abs(motion.command - motion.measured).mean() < 0.05


def test_times_are_those_that_the_messages_tell(trial: RecordedTrial) -> None:
    np.testing.assert_allclose(trial.inference_ms, INFERENCE_MS)
    np.testing.assert_allclose(trial.chunk_latency_ms, [LATENCY_MS] * 3)
    np.testing.assert_allclose(trial.real_time_factors, [0.99] * 4)
    np.testing.assert_allclose(trial.command_periods_ms, 1000 / 30, atol=1e-5)


def test_an_episode_without_a_policy_has_no_inference_times(slipping: Generated) -> None:
    trial = RecordedTrial(slipping.made[0].folder)
    assert len(trial.inference_ms) == len(trial.chunk_latency_ms) == len(trial.real_time_factors) == 0


def test_the_video_has_a_frame_for_every_image_of_the_first_camera(trial: RecordedTrial, tmp_path: Path) -> None:
    path = tmp_path / "media" / "trial.mp4"
    count = trial.write_video(path)
    images = trial.info.messages[trial.contract.cameras["head"].topic]
    assert count == images
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 30
    assert len(frames) == count
    assert frames[0].shape == (224, 3 * 224, 3)
    assert np.abs(frames[0].astype(int) - frames[-1].astype(int)).mean() > 2, "the picture never changes"


def test_views_show_the_chosen_cameras_in_the_chosen_order(trial: RecordedTrial) -> None:
    first = {name: next(trial.views((name,))) for name in ("right_wrist", "head")}
    view = next(trial.views(("right_wrist", "head")))
    assert view.shape == (224, 2 * 224, 3)
    np.testing.assert_array_equal(view[:, 224:], first["head"])
    assert (view[:, :224] != view[:, 224:]).any()


def test_a_damaged_recording_is_named(slipping: Generated, tmp_path: Path) -> None:
    folder = as_trial(slipping.made[0].folder, tmp_path / "cut")
    (bag,) = folder.glob("*.mcap")
    bag.write_bytes(bag.read_bytes()[:100_000])
    with pytest.raises(BagError, match=r"cut_0\.mcap: truncated or damaged"):
        RecordedTrial(folder)


def test_a_video_that_a_dying_process_left_half_is_made_again(slipping: Generated, tmp_path: Path) -> None:
    episode = as_trial(slipping.made[0].folder, tmp_path / "episodes" / "reaching_a")
    protocol = Protocol("ros", "reaching", "expert", "seeds", 22.0)
    trial = Trial(0, 0, None, True, 1, "lifted", "", 9.0, {}, episode=f"/on/the/recorders/machine/{episode.name}")
    save_trials(tmp_path / "results.json", protocol, [trial])
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / ".000.partial.mp4").write_bytes(b"half")
    write_videos(tmp_path)
    assert [path.name for path in (tmp_path / "trials").iterdir()] == ["000.mp4"]
    with av.open(str(tmp_path / "trials" / "000.mp4")) as container:
        assert container.streams.video[0].frames > 20
