"""Egocentric videos are read by the time of every frame, upright, undistorted, and never where they are redacted."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import ego_videos as videos
import numpy as np
import pytest
from activemimic_data.dataset.video import read_frames
from activemimic_training.egocentric.ingest.ingest import CanonicalVideo, ingest
from activemimic_training.egocentric.ingest.item import Item, find_items
from activemimic_training.egocentric.language.segment import Segment, Segments
from activemimic_training.egocentric.poses.frames import TICK_NS, blurred, cuts, frames, grid
from activemimic_training.egocentric.settings.pipeline_config import EgocentricConfig
from activemimic_training.egocentric.spatial.calibration import Calibration, Undistortion
from activemimic_training.egocentric_error import EgocentricError

FISHEYE = {"model": "fisheye", "width": 320, "height": 240, "fx": 110.0, "fy": 111.0, "cx": 161.0, "cy": 118.0}
FISHEYE |= {"distortion": [0.02, -0.01, 0.003, -0.001]}
BARREL = {"width": 320, "height": 240, "fx": 200.0, "fy": 201.0, "cx": 150.0, "cy": 125.0}
BARREL |= {"distortion": [-0.25, 0.06, 0.001, -0.001]}


def ingested(path: Path, folder: Path, **settings: object) -> CanonicalVideo:
    (item,), _ = find_items([path])
    return ingested_item(item, folder, **settings)


def ingested_item(item: Item, folder: Path, **settings: object) -> CanonicalVideo:
    folder.mkdir()
    ingest(item, EgocentricConfig.model_validate({"ingest": settings}), {}, folder)
    return CanonicalVideo(item, folder)


def camera(video: CanonicalVideo) -> dict:
    return json.loads((video.folder / "camera.json").read_text())


def episodes(video: CanonicalVideo, out: Path, segments: list[dict], **settings: object) -> tuple[list[Path], dict]:
    """Runs the stage `frames`; the episodes' folders, and episodes.json."""
    Segments(segments=[Segment(**found) for found in segments]).save(video.folder)
    out.mkdir()
    config = EgocentricConfig.model_validate({"frames": settings})
    frames(video.item, config, {"ingest": video.folder, "filter": video.folder}, out)
    about = json.loads((out / "episodes.json").read_text())
    return [out / name for name in about["episodes"]], about


def numbers(episode: Path, turns: int = 0) -> list[int]:
    count = len(json.loads((episode / "frames.json").read_text())["time_ns"])
    images = read_frames(episode / "frames.mp4", 0, count)
    return [videos.number_of(np.rot90(image, turns)) for image in images]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_frames_of_a_variable_rate_stand_at_their_own_times(tmp_path: Path, suffix: str) -> None:
    steps = np.random.default_rng(0).integers(12, 70, 120)
    times_ms = 400 + np.cumsum(steps)  # a file need not begin at 0
    video = ingested(videos.write_video(tmp_path / f"vfr.{suffix}", times_ms.tolist()), tmp_path / "ingest")
    own_ns = (times_ms - times_ms[0]) * 1_000_000
    assert np.load(video.folder / "time_ns.npy").tolist() == own_ns.tolist()

    (episode,), _ = episodes(video, tmp_path / "frames", [videos.segment(0.73, 3.5)])
    about = json.loads((episode / "frames.json").read_text())
    assert about["time_ns"] == [k * TICK_NS for k in range(8, 35)]
    nearest = [int(np.argmin(np.abs(own_ns - tick))) for tick in about["time_ns"]]
    assert numbers(episode) == nearest
    assert about["source_pts_ns"] == own_ns[nearest].tolist()


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_a_rotation_flag_is_obeyed(tmp_path: Path, rotation: int) -> None:
    video = ingested(
        videos.write_video(tmp_path / "turned.mp4", videos.steady(1), rotation=rotation), tmp_path / "ingest"
    )
    upright = (videos.WIDTH, videos.HEIGHT) if rotation == 180 else (videos.HEIGHT, videos.WIDTH)
    assert video.size() == upright
    _, _, image = next(iter(video.at([0])))
    assert np.abs(image.astype(int) - np.rot90(videos.numbered(0), rotation // 90)).mean() < 6


def test_a_gap_splits_an_episode_and_no_image_stands_for_another_time(tmp_path: Path) -> None:
    times_ms = [time for time in videos.steady(6) if not 2000 < time < 3000 and not 3600 < time < 4000]
    video = ingested(videos.write_video(tmp_path / "gap.mp4", times_ms), tmp_path / "ingest")
    made, about = episodes(video, tmp_path / "frames", [videos.segment(0, 6)])
    assert [path.name for path in made] == ["gap_000", "gap_001"]
    assert [drop["reason"].split(",")[0] for drop in about["dropped"]] == ["0.9 s between two gaps of the video"]
    for path in made:
        facts = json.loads((path / "frames.json").read_text())
        assert set(np.diff(facts["time_ns"]).tolist()) == {TICK_NS}
        assert np.abs(np.subtract(facts["time_ns"], facts["source_pts_ns"])).max() <= 100_000_000


def test_damage_inside_a_video_costs_what_is_damaged(tmp_path: Path) -> None:
    path = videos.write_video(tmp_path / "damaged.mp4", videos.steady(8))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20_000] = np.random.default_rng(0).integers(0, 256, 20_000, np.uint8).tobytes()
    path.write_bytes(data)
    made, _ = episodes(ingested(path, tmp_path / "ingest"), tmp_path / "frames", [videos.segment(0, 8)])
    found = [number for episode in made for number in numbers(episode)]
    ticks = [tick for episode in made for tick in json.loads((episode / "frames.json").read_text())["time_ns"]]
    assert 30 < len(ticks) < 80
    wrong = [number for number, tick in zip(found, ticks, strict=True) if abs(number / 30 - tick / 1e9) > 0.11]
    assert wrong == []


def test_redacted_frames_are_never_seen(tmp_path: Path) -> None:
    path = videos.write_video(tmp_path / "ego.mp4", videos.steady(6))
    item = Item("ego", "video", path, spans_s=((1.0, 5.0),), redacted_s=((2.05, 3.01),))
    video = ingested_item(item, tmp_path / "ingest")
    assert video.spans_ns() == [(1_000_000_000, 2_050_000_000), (3_010_000_000, 5_000_000_000)]
    times = [source_ns for _, source_ns, _ in video.at(range(0, 6_000_000_000, TICK_NS // 4))]
    assert min(times) >= 1_000_000_000
    assert not [time for time in times if 2_050_000_000 <= time < 3_010_000_000 or time >= 5_000_000_000]


@pytest.mark.parametrize("lens", [FISHEYE, BARREL], ids=["fisheye", "radial-tangential"])
def test_undistorted_lines_are_straight_where_the_matrix_says_and_no_border_is_black(lens: dict) -> None:
    calibration = Calibration.model_validate(lens)
    undistort = Undistortion(calibration, 320, 240)
    pixels = np.stack(np.meshgrid(np.arange(320.0), np.arange(240.0)), -1).reshape(-1, 1, 2)
    K, distortion = calibration.matrix(320, 240), np.array(calibration.distortion)
    back = cv2.fisheye.undistortPoints if calibration.model == "fisheye" else cv2.undistortPoints
    x = back(pixels, K, distortion).reshape(240, 320, 2)[..., 0]
    # A vertical wall edge at x = 0.2 z, as the lens draws it: dark left of it, bright right of it.
    seen = np.where(x > 0.2, 255, 120).astype(np.uint8)[..., None].repeat(3, -1)
    flat = undistort(seen)[..., 0]
    assert flat.min() > 100
    edges = (flat > 187).argmax(axis=1)
    assert np.abs(edges - (undistort.K[0, 0] * 0.2 + undistort.K[0, 2])).max() <= 1.5
    assert undistort.K[0, 0] == undistort.K[1, 1]


def test_a_calibration_is_scaled_with_the_image_and_one_is_assumed_where_there_is_none(tmp_path: Path) -> None:
    path = videos.write_video(tmp_path / "ego.mp4", videos.steady(0.2))
    guess = camera(ingested(path, tmp_path / "guess", field_of_view_deg=90))
    assert guess["assumed"]
    assert guess["K"] == [[pytest.approx(48), 0, 47.5], [0, pytest.approx(48), 31.5], [0, 0, 1]]

    lens = {"width": 192, "height": 128, "fx": 100.0, "fy": 102.0, "cx": 95.5, "cy": 63.5}
    path.with_suffix(".camera.json").write_text(json.dumps(lens))
    known = camera(ingested(path, tmp_path / "known"))
    assert (known["assumed"], known["source"]) == (False, "ego.camera.json")
    assert np.allclose(known["K"], [[50, 0, 47.5], [0, 51, 31.5], [0, 0, 1]])

    path.with_suffix(".camera.json").write_text(json.dumps({**lens, "width": 128}))
    with pytest.raises(EgocentricError, match="shape 96x64, found 128x128"):
        ingested(path, tmp_path / "wrong")
    path.with_suffix(".camera.json").write_text(json.dumps({**lens, "distortion": [0.1]}))
    with pytest.raises(EgocentricError, match=r"camera.json: .*expected 0 or 4 or 5 or 8 numbers.*found 1"):
        ingested(path, tmp_path / "worse")


def test_large_images_shrink_to_the_canonical_size(tmp_path: Path) -> None:
    video = ingested(
        videos.write_video(tmp_path / "large.mp4", [0, 33], [videos.scene(0, 320, 200)] * 2),
        tmp_path / "ingest",
        longest_side_px=160,
    )
    assert video.size() == (160, 100)
    assert next(iter(video.at([0])))[2].shape == (100, 160, 3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "expected a video, found an empty file"), (b"no video at all", "cannot be read as a video")],
)
def test_what_is_no_video_is_said_in_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    with pytest.raises(EgocentricError, match=rf"bad\.mp4: {reason}") as caught:
        ingested(path, tmp_path / "ingest")
    assert "\n" not in str(caught.value)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(EgocentricError, match="expected a video, found none in it"):
        ingested(tmp_path / "sound.mp4", tmp_path / "ingest")


def test_a_folder_of_frames_needs_times_or_a_rate(tmp_path: Path) -> None:
    images = [videos.numbered(index) for index in range(20)]
    timed = videos.write_frames(tmp_path / "timed", images, [7 + index * 120_000_000 for index in range(20)])
    (episode,), _ = episodes(ingested(timed, tmp_path / "a"), tmp_path / "b", [videos.segment(0, 2)])
    assert numbers(episode)[:7] == [0, 1, 2, 2, 3, 4, 5]

    plain = videos.write_frames(tmp_path / "plain", images)
    with pytest.raises(EgocentricError, match=r"expected timestamps.csv beside the images, or ingest.folder_fps"):
        ingested(plain, tmp_path / "c")
    (episode,), _ = episodes(ingested(plain, tmp_path / "d", folder_fps=20), tmp_path / "e", [videos.segment(0, 1)])
    assert numbers(episode) == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]


def test_the_grid_is_whole_tenths() -> None:
    assert grid(0.3, 0.6) == [300_000_000, 400_000_000, 500_000_000]
    assert grid(0.31, 0.4) == []


def test_blur_and_cuts_are_told_from_turns_of_the_head(tmp_path: Path) -> None:
    wide = videos.scene(1, 800, 64)
    turn = [wide[:, 12 * index : 12 * index + videos.WIDTH] for index in range(20)]
    after = [videos.scene(2) // 2] * 20
    images = [*turn, *after]
    images[30] = cv2.GaussianBlur(images[30], (0, 0), 3)
    times_ms = [index * 100 for index in range(40)]
    video = ingested(videos.write_video(tmp_path / "cut.mp4", times_ms, images), tmp_path / "ingest")
    (episode,), _ = episodes(video, tmp_path / "frames", [videos.segment(0, 4)])
    about = json.loads((episode / "frames.json").read_text())
    assert [index for index, cut in enumerate(about["cut_after"]) if cut] == [19]
    assert [index for index, blur in enumerate(about["blurred"]) if blur] == [30]
    assert len(about["cut_after"]) == len(about["blurred"]) == len(about["time_ns"]) == 40


def test_a_single_frame_is_neither_blurred_nor_a_cut() -> None:
    assert blurred([0.5], 0.3) == [False]
    assert cuts([], 0.5) == []


def test_ego4d_gives_annotated_parts_without_the_redacted_ones(tmp_path: Path) -> None:
    def interval(
        start: float, end: float, clip: str | None, redacted: bool = False, begins: float | None = None
    ) -> dict:
        return {
            "start_sec": start,
            "end_sec": end,
            "clip_uid": clip,
            "clip_parent_start_sec": begins,
            "redacted": redacted,
            "narrated_actions": [],
        }

    listed = [
        {"video_uid": "whole", "annotated_intervals": [interval(1, 3, "c0"), interval(3, 4, "c1", redacted=True)]},
        {"video_uid": "gone", "annotated_intervals": [interval(9, 12, "c2", begins=8), interval(20, 25, "c3")]},
    ]
    (tmp_path / "v2" / "annotations").mkdir(parents=True)
    (tmp_path / "v2" / "annotations" / "fho_main.json").write_text(json.dumps({"videos": listed}))
    for name in ("whole", "c2"):
        (tmp_path / f"{name}.mp4").touch()
    found, left_out = find_items([tmp_path])
    clip, whole = found
    assert (clip.id, clip.spans_s, clip.dataset) == ("c2", ((1.0, 4.0),), "Ego4D")
    assert (whole.id, whole.spans_s, whole.redacted_s) == ("whole", ((1.0, 3.0),), ((3.0, 4.0),))
    assert [it.source for it in left_out] == ["Ego4D video gone, 20 s"]

    (tmp_path / "v2" / "annotations" / "fho_main.json").write_text('{"videos": [{"video_uid": "x"}]}')
    with pytest.raises(EgocentricError, match=r"fho_main.json: videos.0.annotated_intervals: expected a value"):
        find_items([tmp_path])


def test_files_of_one_name_are_two_items_and_keep_their_ids(tmp_path: Path) -> None:
    for folder in ("b", "a"):
        (tmp_path / folder).mkdir()
    (tmp_path / "b" / "My video.mp4").touch()
    first, _ = find_items([tmp_path])
    (tmp_path / "a" / "My video.mp4").touch()
    both, _ = find_items([tmp_path], known=first)
    assert [item.id for item in first] == ["My_video"]
    assert {item.id: item.source.parent.name for item in both}["My_video"] == "b"
    assert len(both) == len({item.id for item in both}) == 2
