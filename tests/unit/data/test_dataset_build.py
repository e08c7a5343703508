"""A dataset holds what the robot saw and was told, at the right rows, whatever happens while it is built."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from activemimic_data.bags import EpisodeReader
from activemimic_data.dataset import Dataset, DatasetError, build, build_dataset, stage, video
from activemimic_description.codec import decode_slots, stamp_ns
from activemimic_description.contract import CONTRACTS_FOLDER, load_contract, parse_contract
from synthetic import COMMAND_DELAY_NS, FPS, MS, frame_stamp_ns, image_number, joints, numbered_image

CLEAR_OF_STAMPS_NS = 5 * MS

EpisodeMaker = Callable[..., Path]


@pytest.fixture(scope="session")
def built(episodes: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dataset") / "ds"
    build_dataset(episodes, out, FPS, workers=1)
    return out


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_row_shows_the_frame_it_stands_for(built: Path) -> None:
    dataset = Dataset(built)
    for number, camera in enumerate(dataset.cameras):
        for episode in dataset.episodes:
            # All sources have spoken once the first command has, 12 ms after frame 0: row i sees frame i.
            seen = [image_number(image) for image in dataset.frames(camera, episode.index)]
            assert seen == [row + 1000 * number for row in range(episode.stop - episode.start)]


def test_images_keep_their_colours(built: Path) -> None:
    image = next(iter(Dataset(built).frames("head", 0)))
    np.testing.assert_allclose(image[200, 200], (20, 10, 0), atol=8)  # frame 0: every bit is 0


def test_states_and_actions_are_the_newest_that_the_rule_allows(built: Path, episodes: list[Path]) -> None:
    """The plain reading of the rule, over all messages at once, gives the same rows as the streaming one."""
    dataset = Dataset(built)
    for bag, episode in zip(episodes, dataset.episodes, strict=True):
        reader = EpisodeReader(bag)
        (source,), (sink,) = reader.contract.state, reader.contract.commands
        measured = [(stamp_ns(m.msg), decode_slots(source, m.msg)[1]) for m in reader.messages([source.topic])]
        commanded = [(stamp_ns(m.msg), decode_slots(sink, m.msg)[1]) for m in reader.messages([sink.topic])]
        stamps = dataset.column("observation_stamp_ns")[episode.start : episode.stop]
        assert stamps[0] == frame_stamp_ns(0) + COMMAND_DELAY_NS + CLEAR_OF_STAMPS_NS
        ticks = [*stamps.tolist(), stamps[0] + len(stamps) * 1_000_000_000 // FPS]
        for row, tick, following in zip(range(episode.start, episode.stop), ticks, ticks[1:], strict=False):
            state = [values for stamp, values in measured if stamp <= tick][-1]
            action = [values for stamp, values in commanded if stamp <= following][-1]
            np.testing.assert_array_equal(dataset.state[row], state.astype(np.float32))
            np.testing.assert_array_equal(dataset.action[row], action.astype(np.float32))


def test_an_action_is_the_command_of_the_next_tick(built: Path) -> None:
    dataset = Dataset(built)
    for row in range(10):
        np.testing.assert_allclose(dataset.action[row], joints(row + 1, 0.1), atol=1e-6)


def test_of_a_policy_that_a_human_corrects_the_corrections_are_to_be_imitated(
    make_episode: EpisodeMaker, tmp_path: Path
) -> None:
    make_episode(tmp_path / "bag", frames=40, moved_by={0: "policy", 12: "teleop", 25: "policy", 32: ""})
    build_dataset([tmp_path / "bag"], tmp_path / "ds", FPS, workers=1)
    # Row i acts with the command of frame i + 1.
    corrected = [row for row, weight in enumerate(Dataset(tmp_path / "ds").column("loss_weight")) if weight]
    assert corrected == [*range(12, 24), *range(32, 39)]
    build_dataset([tmp_path / "bag"], tmp_path / "all", FPS, workers=1, imitate_policy=True)
    assert Dataset(tmp_path / "all").column("loss_weight").all()


def test_stamps_that_jitter_about_the_grid_do_not_make_rows_repeat_or_skip_a_frame(
    make_episode: EpisodeMaker, tmp_path: Path
) -> None:
    make_episode(tmp_path / "bag", frames=30, jitter_ns=2 * MS)
    build_dataset([tmp_path / "bag"], tmp_path / "ds", FPS, workers=1)
    dataset = Dataset(tmp_path / "ds")
    for number, camera in enumerate(dataset.cameras):
        seen = [image_number(image) for image in dataset.frames(camera, 0)]
        assert seen == [row + 1000 * number for row in range(len(dataset))]
    for row in range(len(dataset) - 1):
        np.testing.assert_allclose(dataset.action[row], joints(row + 1, 0.1), atol=1e-6)


def test_true_ages_are_kept_beside_the_grid(built: Path) -> None:
    dataset = Dataset(built)
    ages = dataset.column("observation_age_ms")
    assert dataset.features["observation_age_ms"]["names"] == ["head", "left_wrist", "right_wrist", "/joint_states"]
    np.testing.assert_allclose(ages[:, :3], 17.0, atol=0.01)
    np.testing.assert_allclose(ages[:, 3], 10.0, atol=0.01)


def test_the_same_bags_give_the_same_bytes_with_any_number_of_workers(
    built: Path, episodes: list[Path], tmp_path: Path
) -> None:
    build_dataset([episodes[0].parent], tmp_path / "again", FPS, workers=2)
    assert digests(tmp_path / "again") == digests(built)


def test_a_video_has_the_same_bytes_with_and_without_the_processors_vector_instructions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [numbered_image(number, 224, 224) for number in range(20)]

    def encoded(parameters: str) -> bytes:
        monkeypatch.setitem(video._OPTIONS, "x264-params", parameters)
        writer = video.VideoWriter(tmp_path / "video.mp4", FPS, 224, 224)
        for frame in frames:
            writer.add(frame)
        writer.close()
        return (tmp_path / "video.mp4").read_bytes()

    shipped = video._OPTIONS["x264-params"]
    assert encoded(shipped) == encoded(f"{shipped}:asm=0")


def test_a_truncated_bag_is_named_and_the_others_are_converted(episodes: list[Path], tmp_path: Path) -> None:
    bags = [Path(shutil.copytree(bag, tmp_path / "bags" / bag.name)) for bag in episodes]
    (file,) = bags[1].glob("*.mcap")
    file.write_bytes(file.read_bytes()[:5000])
    (tmp_path / "bags" / "episode_003.recording").mkdir()
    done: list[tuple[int, int, str]] = []
    result = build_dataset([tmp_path / "bags"], tmp_path / "ds", FPS, workers=1, progress=lambda *at: done.append(at))
    assert result.used == [bags[0], bags[2]]
    assert (result.episodes, result.frames) == (2, len(Dataset(tmp_path / "ds")))
    assert [skipped.bag.name for skipped in result.broken] == ["episode_001", "episode_003.recording"]
    assert "episode_001_0.mcap: truncated or damaged (5000 bytes)" in result.skipped[0].reason
    assert "the recorder ended before it closed" in result.skipped[1].reason
    assert done == [(1, 3, "episode_000"), (2, 3, "episode_001"), (3, 3, "episode_002")]
    assert [entry["bag"] for entry in Dataset(tmp_path / "ds").skipped] == ["episode_001", "episode_003.recording"]
    assert str(tmp_path) not in (tmp_path / "ds/meta/activemimic.json").read_text()


def test_a_scene_held_out_for_evaluation_is_left_out(make_episode: EpisodeMaker, tmp_path: Path) -> None:
    make_episode(tmp_path / "bags" / "learned", frames=20)
    make_episode(tmp_path / "bags" / "held_out", frames=20, seed=1_000_000)
    result = build_dataset([tmp_path / "bags"], tmp_path / "ds", FPS, workers=1)
    assert [bag.name for bag in result.used] == ["learned"]
    (skipped,) = result.skipped
    assert not skipped.broken
    assert skipped.reason == "seed 1000000 is one of those held out for evaluation (1000000 and up)"


def test_an_episode_is_split_at_its_gaps_and_what_was_cut_is_told(make_episode: EpisodeMaker, tmp_path: Path) -> None:
    """left_wrist is silent for frames 20 to 39 and again for 60 to 79, between which nothing is missing."""
    missing = frozenset([*range(20, 40), *range(60, 80)])
    bag = make_episode(tmp_path / "bag", frames=110, without_images=("left_wrist", missing))
    result = build_dataset([bag], tmp_path / "ds", FPS, workers=1, min_seconds=0.9)
    dataset = Dataset(tmp_path / "ds")
    # A camera may be 200 ms old: 17 ms at the first tick without its image, so 5 ticks more are rows.
    seen = [[image_number(image) for image in dataset.frames("head", episode.index)] for episode in dataset.episodes]
    assert seen == [list(range(80, 109))]
    assert (result.episodes, result.frames, result.used, result.skipped) == (1, 29, [bag], [])
    assert [entry["from_s"] for entry in dataset.bags] == [pytest.approx(80 / FPS, abs=1e-6)]
    told = json.loads((tmp_path / "ds/meta/activemimic.json").read_text())["cuts"]
    assert told == [vars(cut) for cut in result.cuts]
    assert [(round(cut["from_s"] * FPS), round(cut["to_s"] * FPS)) for cut in told] == [
        (0, 25),
        (25, 40),
        (40, 65),
        (65, 80),
    ]
    assert [cut["reason"].split(":")[0] for cut in told[1::2]] == [
        "camera left_wrist (/camera/hand_left_color/compressed)"
    ] * 2
    assert "limit 200 ms" in told[1]["reason"]
    assert told[0]["reason"] == "a segment of 0.83 s, shorter than 0.9 s"


def test_segments_that_are_long_enough_become_episodes(make_episode: EpisodeMaker, tmp_path: Path) -> None:
    make_episode(tmp_path / "bag", frames=60, without_images=("head", range(20, 40)))
    result = build_dataset([tmp_path / "bag"], tmp_path / "ds", FPS, workers=1)
    dataset = Dataset(tmp_path / "ds")
    seen = [[image_number(image) for image in dataset.frames("right_wrist", e.index)] for e in dataset.episodes]
    assert seen == [list(range(2000, 2025)), list(range(2040, 2059))]
    assert [entry["bag"] for entry in dataset.bags] == ["bag", "bag"]
    assert len(result.cuts) == 1


def test_a_gap_limit_below_the_contracts_holds_for_sources_and_one_above_it_for_commands_alone(
    make_episode: EpisodeMaker, tmp_path: Path
) -> None:
    make_episode(tmp_path / "image", frames=60, without_images=("head", range(30, 34)))
    make_episode(tmp_path / "command", frames=60, without_commands=range(30, 42))

    def segments(bag: str, max_gap_s: float) -> int:
        out = tmp_path / f"{bag}_{max_gap_s}"
        return build_dataset([tmp_path / bag], out, FPS, workers=1, max_gap_s=max_gap_s).episodes

    assert segments("image", 0.3) == 1
    assert segments("image", 0.1) == 2
    assert segments("command", 0.3) == 2
    assert segments("command", 0.5) == 1


def test_what_is_missing_at_the_ends_is_told_as_well(make_episode: EpisodeMaker, tmp_path: Path) -> None:
    missing = frozenset([*range(15), *range(45, 60)])
    make_episode(tmp_path / "bag", frames=60, without_images=("head", missing))
    result = build_dataset([tmp_path / "bag"], tmp_path / "ds", FPS, workers=1)
    before, after = result.cuts
    assert before.reason == "/camera/head_color/compressed has not spoken yet"
    assert (before.from_s, before.to_s) == (0.0, pytest.approx(15 / FPS + 0.005, abs=1e-6))
    assert "camera head" in after.reason
    assert after.to_s == pytest.approx(59 / FPS, abs=0.02)


def test_an_episode_of_gaps_alone_is_left_out_with_the_reasons(
    make_episode: EpisodeMaker, episodes: list[Path], tmp_path: Path
) -> None:
    make_episode(tmp_path / "gap", frames=30, without_images=("left_wrist", range(10, 25)))
    make_episode(tmp_path / "never", frames=5, without_images=("left_wrist", range(5)))
    result = build_dataset([episodes[0], tmp_path], tmp_path / "ds", FPS, workers=1, min_seconds=0.6)
    gap, never = result.skipped
    assert (gap.broken, never.broken) == (False, True)
    assert "camera left_wrist (/camera/hand_left_color/compressed): newest message is" in gap.reason
    assert "no message on /camera/hand_left_color/compressed; expected every topic" in never.reason


def test_failed_episodes_are_left_out_unless_asked_for(
    make_episode: EpisodeMaker, episodes: list[Path], tmp_path: Path
) -> None:
    make_episode(tmp_path / "failed", frames=20, outcome="failure")
    paths = [episodes[0], tmp_path / "failed"]
    result = build_dataset(paths, tmp_path / "good", FPS, workers=1)
    (skipped,) = result.skipped
    assert (skipped.reason, skipped.broken) == ("outcome is failure, not success", False)
    assert build_dataset(paths, tmp_path / "all", FPS, workers=1, only_success=False).episodes == 2


def test_the_first_episodes_that_would_be_in_can_be_all_of_a_dataset(
    make_episode: EpisodeMaker, tmp_path: Path
) -> None:
    outcomes = ("failure", "success", "success", "success")
    paths = [make_episode(tmp_path / f"e{number}", outcome=outcome) for number, outcome in enumerate(outcomes)]
    result = build_dataset(paths, tmp_path / "two", FPS, workers=1, most_episodes=2)
    assert result.episodes == 2
    assert [bag["bag"] for bag in Dataset(tmp_path / "two").bags] == ["e1", "e2"]


def test_contracts_are_not_mixed(make_episode: EpisodeMaker, episodes: list[Path], tmp_path: Path) -> None:
    text = (CONTRACTS_FOLDER / "g1_sim.yaml").read_text().replace("width: 224", "width: 320", 1)
    make_episode(tmp_path / "wide", frames=3, contract=parse_contract(text, "wide"))
    with pytest.raises(DatasetError) as caught:
        build_dataset([episodes[0], tmp_path / "wide"], tmp_path / "ds", FPS, workers=1)
    assert "camera head: width 320 in wide, 224 in episode_000" in str(caught.value)
    assert not list(tmp_path.glob("ds*"))


def test_masked_ranges_weigh_nothing(make_episode: EpisodeMaker, tmp_path: Path) -> None:
    masked = [[frame_stamp_ns(4), frame_stamp_ns(8)]]
    make_episode(tmp_path / "bag", frames=20, extra={"masked_ns": masked})
    build_dataset([tmp_path / "bag"], tmp_path / "ds", FPS, workers=1)
    weight = Dataset(tmp_path / "ds").column("loss_weight")
    assert np.flatnonzero(weight == 0).tolist() == [4, 5, 6, 7]

    make_episode(tmp_path / "wrong", frames=3, extra={"masked_ns": [[1, "two"]]})
    with pytest.raises(DatasetError, match=r"episode\.yaml: extra\.masked_ns\[0\]: expected \[from, to\]"):
        build_dataset([tmp_path / "wrong"], tmp_path / "ds2", FPS, workers=1)


def test_an_interrupted_build_does_not_convert_again_what_it_has(
    episodes: list[Path], built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted: list[str] = []
    convert = stage._convert

    def interrupted(reader: EpisodeReader, *settings: Any) -> None:
        converted.append(reader.folder.name)
        if len(converted) == 3:
            raise KeyboardInterrupt
        convert(reader, *settings)

    monkeypatch.setattr(stage, "_convert", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_dataset(episodes, tmp_path / "ds", FPS, workers=1)
    assert not (tmp_path / "ds").exists()
    build_dataset(episodes, tmp_path / "ds", FPS, workers=1)
    assert converted == ["episode_000", "episode_001", "episode_002", "episode_002"]
    assert digests(tmp_path / "ds") == digests(built)
    assert [path.name for path in tmp_path.iterdir()] == ["ds"]


def test_an_episode_that_changed_is_converted_again(episodes: list[Path], tmp_path: Path) -> None:
    bag = Path(shutil.copytree(episodes[0], tmp_path / "bag"))
    before = stage.stage_key(bag, (FPS,))
    (bag / "episode.yaml").write_text((bag / "episode.yaml").read_text() + "\n")
    assert stage.stage_key(bag, (FPS,)) != before
    assert stage.stage_key(episodes[0], (FPS,)) != stage.stage_key(episodes[0], (15,))


def test_nothing_to_convert_is_an_error_with_every_reason(make_episode: EpisodeMaker, tmp_path: Path) -> None:
    make_episode(tmp_path / "bags" / "failed", frames=3, outcome="failure")
    with pytest.raises(DatasetError, match="failed: outcome is failure"):
        build_dataset([tmp_path / "bags"], tmp_path / "ds", FPS, workers=1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no recorded episode at"):
        build_dataset([tmp_path / "empty"], tmp_path / "ds", FPS, workers=1)
    assert not list(tmp_path.glob("ds*"))


def test_an_existing_dataset_is_not_overwritten(built: Path, episodes: list[Path]) -> None:
    with pytest.raises(DatasetError, match="exists already"):
        build_dataset(episodes, built, FPS, workers=1)


def test_a_slower_grid_takes_every_second_frame(episodes: list[Path], tmp_path: Path) -> None:
    build.build_dataset([episodes[0]], tmp_path / "ds", 15, workers=1)
    dataset = Dataset(tmp_path / "ds")
    assert [image_number(image) for image in dataset.frames("head", 0)] == list(range(0, 24, 2))
    assert np.diff(dataset.column("observation_stamp_ns")) == pytest.approx(66.667 * MS, rel=1e-4)


def test_the_contract_travels_with_the_dataset(built: Path) -> None:
    dataset = Dataset(built)
    contract = load_contract("g1_sim")
    assert dataset.contract_yaml == contract.text
    assert dataset.interface == contract.interface()
    assert dataset.fingerprint == contract.fingerprint()


def test_a_bag_whose_clock_jumps_is_broken_and_not_an_endless_gap(make_episode: EpisodeMaker, tmp_path: Path) -> None:
    make_episode(tmp_path / "bag", frames=40, jumps_at=(20, 3_000_000_000_000))
    with pytest.raises(DatasetError, match="stamps jump by more than 600 s"):
        build_dataset([tmp_path / "bag"], tmp_path / "ds", FPS, workers=1)


def test_the_older_layout_has_a_file_an_episode_and_the_same_content(
    built: Path, episodes: list[Path], tmp_path: Path
) -> None:
    build_dataset(episodes, tmp_path / "ds", FPS, workers=1, version="v2.1")
    old, new = tmp_path / "ds", Dataset(built)
    info = json.loads((old / "meta/info.json").read_text())
    assert info["codebase_version"] == "v2.1"
    assert (info["total_videos"], info["total_chunks"], info["total_frames"]) == (9, 1, 60)
    assert info["features"] == new.features
    lines = {
        name: [json.loads(line) for line in (old / f"meta/{name}.jsonl").read_text().splitlines()]
        for name in ("tasks", "episodes", "episodes_stats")
    }
    assert [line["task"] for line in lines["tasks"]] == new.tasks
    assert [line["length"] for line in lines["episodes"]] == [23, 17, 20]
    for episode, described, stats in zip(new.episodes, lines["episodes"], lines["episodes_stats"], strict=True):
        place = {"episode_chunk": 0, "episode_index": episode.index}
        table = pq.read_table(old / info["data_path"].format(**place))
        assert described["tasks"] == [episode.task]
        for name in table.column_names:
            expected = new.column(name)[episode.start : episode.stop]
            np.testing.assert_array_equal(np.array(table[name].to_pylist(), expected.dtype), expected)
        assert set(stats["stats"]) == set(info["features"])
        assert set(stats["stats"]["action"]) == {"min", "max", "mean", "std", "count"}
        for camera in new.cameras:
            path = old / info["video_path"].format(video_key=f"observation.images.{camera}", **place)
            old_frames = video.read_frames(path, 0.0, len(table))
            assert all((a == b).all() for a, b in zip(old_frames, new.frames(camera, episode.index), strict=True))


def test_a_layout_that_there_is_not_is_refused(episodes: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"format 'v1\.6': expected one of v3\.0, v2\.1"):
        build_dataset(episodes, tmp_path / "ds", FPS, version="v1.6")


def test_two_builds_of_one_dataset_do_not_meet(make_episode: EpisodeMaker, tmp_path: Path) -> None:
    make_episode(tmp_path / "bag")
    building = tmp_path / "ds.building"
    building.mkdir()
    with (building / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DatasetError, match="another process is making this dataset"):
            build_dataset([tmp_path / "bag"], tmp_path / "ds", FPS, workers=1)
    assert build_dataset([tmp_path / "bag"], tmp_path / "ds", FPS, workers=1).episodes == 1
