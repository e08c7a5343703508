"""Headless demonstrations: bags as the recorder writes them, and a dataset whose rows mean what they say."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from activemimic_data.bags import EpisodeReader
from activemimic_data.dataset.read import Dataset
from activemimic_description.codec import decode_image, decode_slots, stamp_ns
from activemimic_description.contract import load_contract
from activemimic_description.robot import load_robot
from activemimic_rollout.agents.agents import PolicyNameError, weights_digest
from activemimic_rollout.agents.intervention_schedule import InterventionSchedule
from activemimic_rollout.synchronous.demonstrations import DemonstrationPlan, generate
from activemimic_sim.tasks import SceneError
from generated import FPS, Generated

RATE_HZ = 30
STEP_NS = 100_000_000


def test_there_is_an_episode_a_seed_and_its_outcome_is_kept(slipping: Generated) -> None:
    assert [(made.seed, made.folder.name) for made in slipping.made] == [(0, "reaching_000000"), (1, "reaching_000001")]
    for made in slipping.made:
        info = EpisodeReader(made.folder).info
        assert info.outcome == ("success" if made.success else "failure")
        assert info.seed == made.seed
        assert info.task == "reaching"
        assert "cube" in info.instruction
        assert info.contract == "g1_sim"
        assert info.fingerprint == load_contract("g1_sim").fingerprint()


def test_every_tick_has_one_state_and_one_command(slipping: Generated) -> None:
    for made in slipping.made:
        ticks = round(made.time_s * RATE_HZ)
        reader = EpisodeReader(made.folder)
        assert reader.info.messages["/joint_states"] == reader.info.messages["/joint_command"] == ticks
        for topic in ("/joint_states", "/joint_command"):
            stamps = [stamp_ns(message.msg) for message in reader.messages([topic])]
            assert stamps == [stamps[0] + index * 10**9 // RATE_HZ for index in range(ticks)]


@pytest.mark.parametrize("which", ["slipping", "steady"])
def test_cameras_are_stored_at_the_asked_rate(which: str, request: pytest.FixtureRequest) -> None:
    generated: Generated = request.getfixturevalue(which)
    every = RATE_HZ // (generated.plan.camera_hz or RATE_HZ)
    for made in generated.made:
        reader = EpisodeReader(made.folder)
        ticks = [stamp_ns(message.msg) for message in reader.messages(["/joint_states"])]
        for camera in reader.contract.cameras.values():
            stamps = [stamp_ns(message.msg) for message in reader.messages([camera.topic])]
            assert stamps == ticks[::every], camera.topic


def test_a_late_start_leaves_out_what_came_before_it(tmp_path: Path) -> None:
    plan = DemonstrationPlan("reaching", camera_hz=5, late_starts=1.0, action_noise=0.0)
    (made,) = generate(plan, tmp_path, [1], workers=1)
    recorded_s = EpisodeReader(made.folder).info.messages["/joint_states"] / RATE_HZ
    assert made.success
    assert 0.2 < made.time_s - recorded_s <= plan.latest_start_s


def test_in_turns_with_a_policy_only_the_expert_is_to_be_imitated(tmp_path: Path) -> None:
    """Its first turn is left out, the rows of its later ones are masked, and the expert goes on from wherever it is."""
    plan = DemonstrationPlan("reaching", camera_hz=5, action_noise=0.0, policy="reaching")
    (made,) = generate(plan, tmp_path, [4], workers=1)
    reader = EpisodeReader(made.folder)
    stamps, commands = _commands(reader)
    recorded_s = len(stamps) / RATE_HZ
    masked = reader.info.extra["masked_ns"]
    assert made.success
    assert made.time_s - recorded_s > 0.5  # the first turn
    assert masked[0][1] == stamps[0] - 1
    assert len(masked) > 1
    assert reader.info.extra["policy"] == weights_digest("reaching")
    alone = tmp_path / "alone"
    (other,) = generate(replace(plan, policy="", late_starts=0.0), alone, [4], workers=1)
    start = commands[0] - _commands(EpisodeReader(other.folder))[1][0]
    assert np.abs(start).max() > 0.01  # where the policy has brought it


def test_an_expert_that_would_come_too_late_takes_over_earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = DemonstrationPlan("reaching", camera_hz=5, action_noise=0.0, policy="reaching")
    monkeypatch.setattr(InterventionSchedule, "drawn", lambda rng, _: InterventionSchedule([(0.0, 60.0)], rng))
    (alone,) = generate(plan, tmp_path / "alone", [4], workers=1)
    monkeypatch.setattr(
        InterventionSchedule, "drawn", lambda rng, _: InterventionSchedule([(0.0, alone.time_s - 0.1)], rng)
    )
    (made,) = generate(plan, tmp_path / "late", [4], workers=1)
    assert made.success
    assert len(_commands(EpisodeReader(made.folder))[0]) >= 0.5 * RATE_HZ


def test_cells_take_turns_as_seeds_count_up(tmp_path: Path) -> None:
    """What the expert of a seed does is what it does in the scene of that cell."""
    plan = DemonstrationPlan("reaching", camera_hz=5, late_starts=0.0, action_noise=0.0, cells=(2, 0))
    made = generate(plan, tmp_path / "both", [2, 3], workers=1)
    assert [EpisodeReader(it.folder).info.extra["cell"] for it in made] == [2, 0]
    (alone,) = generate(replace(plan, cells=(0,)), tmp_path / "alone", [3], workers=1)
    (other,) = generate(replace(plan, cells=(1,)), tmp_path / "other", [3], workers=1)
    reached = [_commands(EpisodeReader(it.folder))[1][-1] for it in (made[1], alone, other)]
    np.testing.assert_array_equal(reached[0], reached[1])
    assert np.abs(reached[0] - reached[2]).max() > 0.01


def test_a_cell_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="task reaching: expected a cell of 0 to 8, found 9"):
        generate(DemonstrationPlan("reaching", cells=(0, 9)), tmp_path / "out", [1])
    assert not (tmp_path / "out").exists()


def test_a_policy_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyNameError, match="expected a checkpoint's folder"):
        generate(DemonstrationPlan("reaching", policy="nobody"), tmp_path / "out", [1])
    assert not (tmp_path / "out").exists()


def test_images_are_of_the_contracts_size_and_show_something(steady: Generated) -> None:
    reader = EpisodeReader(steady.made[0].folder)
    for name, camera in reader.contract.cameras.items():
        image = decode_image(camera, next(reader.messages([camera.topic])).msg)
        assert image.shape == (camera.height, camera.width, 3), name
        assert image.std() > 10, f"{name}: one colour"


def test_every_command_is_within_the_limits(slipping: Generated) -> None:
    robot = load_robot("g1")
    for made in slipping.made:
        commands = _commands(EpisodeReader(made.folder))[1]
        assert (commands >= robot.lower - 1e-9).all()
        assert (commands <= robot.upper + 1e-9).all()
        assert (np.abs(np.diff(commands, axis=0)) * RATE_HZ <= robot.velocity + 1e-6).all()


def test_slips_are_marked_from_the_row_before_to_their_end(slipping: Generated, steady: Generated) -> None:
    marked = [EpisodeReader(made.folder).info.extra["masked_ns"] for made in slipping.made]
    assert all(marked)
    for ranges in marked:
        for first, last in ranges:
            assert last - first == 2 * STEP_NS - 1
    assert EpisodeReader(steady.made[0].folder).info.extra["masked_ns"] == []


def test_only_what_follows_the_first_slip_differs_from_a_steady_hand(slipping: Generated, steady: Generated) -> None:
    """Action noise changes the commands, and they do so inside a marked range first."""
    slipped = EpisodeReader(slipping.made[0].folder)
    stamps, with_slips = _commands(slipped)
    _, without = _commands(EpisodeReader(steady.made[0].folder))
    count = min(len(with_slips), len(without))
    (differing,) = np.nonzero((with_slips[:count] != without[:count]).any(axis=1))
    first, last = slipped.info.extra["masked_ns"][0]
    assert len(differing)
    assert first < stamps[differing[0]] <= last


def test_running_again_makes_nothing_new_and_removes_what_was_half_written(slipping: Generated) -> None:
    unfinished = slipping.out / "reaching_000007.recording"
    unfinished.mkdir()
    (unfinished / "reaching_000007_0.mcap").write_bytes(b"\x89MCAP0\r\n")
    before = _files(slipping.out, besides=unfinished)
    assert generate(slipping.plan, slipping.out, [0, 1], workers=1) == []
    assert not unfinished.exists()
    assert _files(slipping.out, besides=unfinished) == before


def test_a_row_acts_as_commanded_until_the_next_tick(slipping: Generated, dataset: Path) -> None:
    """Held against the messages themselves, without the aligner: newest stamp not later than the row's next tick."""
    rows = Dataset(dataset)
    folders = {made.folder.name: made.folder for made in slipping.made}
    assert len(rows.episodes) == len(folders)
    for episode, bag in zip(rows.episodes, rows.bags, strict=True):
        reader = EpisodeReader(folders[bag["bag"]])
        command_ns, commands = _commands(reader)
        state_ns, states = _states(reader)
        ticks = rows.column("observation_stamp_ns")[episode.start : episode.stop]
        assert (np.abs(np.diff(ticks) - 10**9 / FPS) <= 1).all()
        for index, tick in enumerate(ticks.tolist()):
            newest = bisect_right(command_ns, tick + 10**9 // FPS) - 1
            state = bisect_right(state_ns, tick) - 1
            row = episode.start + index
            np.testing.assert_allclose(rows.action[row], commands[newest], atol=1e-6, err_msg=f"row {row}")
            np.testing.assert_allclose(rows.state[row], states[state], atol=1e-6, err_msg=f"row {row}")


def test_rows_cover_the_episode(slipping: Generated, dataset: Path) -> None:
    rows = Dataset(dataset)
    for episode, made in zip(rows.episodes, slipping.made, strict=True):
        assert episode.stop - episode.start == pytest.approx(made.time_s * FPS, abs=2)


def _commands(reader: EpisodeReader) -> tuple[list[int], np.ndarray]:
    return _vectors(reader, {sink.topic: sink for sink in reader.contract.commands})


def _states(reader: EpisodeReader) -> tuple[list[int], np.ndarray]:
    return _vectors(reader, {source.topic: source for source in reader.contract.state})


def _vectors(reader: EpisodeReader, sources: dict) -> tuple[list[int], np.ndarray]:
    """Stamps (N) in ns and robot vectors (N, S); g1_sim carries the whole vector in every message."""
    stamps, rows = [], []
    for message in reader.messages(sources):
        indices, values = decode_slots(sources[message.topic], message.msg)
        row = np.full(len(reader.contract.slots), np.nan)
        row[indices] = values
        stamps.append(stamp_ns(message.msg))
        rows.append(row)
    assert not np.isnan(rows).any()
    return stamps, np.array(rows)


def _files(folder: Path, besides: Path) -> dict[Path, int]:
    return {
        path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and besides not in path.parents
    }
