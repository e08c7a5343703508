"""What a corpus of many hours takes: the tables of docs/explanation/scaling.md.

    python benchmarks/scaling.py --hours 10000
    python benchmarks/scaling.py --measure 10

The first prints the plan from the costs below. The second measures those of the stages that need no GPU, on a full-HD
video of so many seconds that it makes itself: CPU seconds, which a busy machine does not change much, and bytes.
"""

from __future__ import annotations

import argparse
import json
import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from activemimic_data.dataset.video import VideoWriter
from activemimic_training.egocentric.episodes.corpus_export import EpisodeFiles, export_corpus
from activemimic_training.egocentric.ingest.ingest import ingest
from activemimic_training.egocentric.ingest.item import Item
from activemimic_training.egocentric.language.filter import filter_segments
from activemimic_training.egocentric.language.segment import segment
from activemimic_training.egocentric.poses.frames import frames
from activemimic_training.egocentric.quality.quality import check_quality
from activemimic_training.egocentric.settings.pipeline_config import EgocentricConfig
from activemimic_training.egocentric.spatial.geometry import se3_exp
from activemimic_training.egocentric.spatial.pose_trajectory import FPS, STEP_NS, EgoTrajectory

KEPT = 0.08  # of the video: the paper's 10 h of episodes from about 120 h of Ego4D's FHO
SOURCE_GB_H = 2.25  # 5 Mbit/s
VIDEO_H = 0.13  # of one video, about 8 minutes
H100_BF16 = 990e12 * 0.3  # floating point operations a second that a large model reaches of the data sheet's

FRAME, SECOND = "an episode's frame", "a second of video"


@dataclass(frozen=True)
class Cost:
    """Of one stage. `least` to `most` seconds of one CPU core or of one GPU, for a frame or a second of video."""

    stage: str
    what: str
    unit: str
    least: float
    most: float
    gpu: bool
    bytes: float  # written, for each unit
    source: str

    def units(self, hours: float, kept: float) -> float:
        return hours * 3600 * (kept * FPS if self.unit == FRAME else 1)


def qwen_seconds(parameters: float, tokens: float) -> float:
    """Of a GPU that reads `tokens`: two operations for each weight."""
    return 2 * parameters * tokens / H100_BF16


# 448 x 252 px at 32 px a token, a frame a second; the filter reads some 60 tokens for a segment of 13 s.
_SEGMENT_S = qwen_seconds(8e9, 14 * 8)
_FILTER_S = qwen_seconds(3e9, 60 / 130)
COSTS = (
    Cost("ingest", "time stamps", SECOND, 0.0, 0.0, False, 0, "measured"),
    Cost("segment", "Qwen3-VL-8B", SECOND, _SEGMENT_S, 4 * _SEGMENT_S, True, 10, "estimate: operations, up to 4 times"),
    Cost("filter", "Qwen3-30B-A3B", FRAME, _FILTER_S, 4 * _FILTER_S, True, 1, "estimate: operations, up to 4 times"),
    Cost("frames", "decode, undistort, encode", FRAME, 0.0, 0.0, False, 0, "measured"),
    Cost("wrists", "SAM-3D-Body", FRAME, 0.7, 9.0, True, 344, "published: issue 46, consumer GPUs"),
    Cost("camera", "VGGT, windows that overlap by half", FRAME, 0.031, 0.062, True, 152, "published: README, H100"),
    Cost("camera", "UniDepth V2", FRAME, 0.02, 0.1, True, 0, "assumed: no figure found"),
    Cost("quality", "rules, smoothing", FRAME, 0.0, 0.0, False, 0, "measured"),
    Cost("export", "448 px, rows", FRAME, 0.0, 0.0, False, 0, "measured"),
)
# Seconds of a core and bytes, as `--measure 2.5` printed them; see docs/explanation/scaling.md for the machine.
MEASURED = {
    "ingest": (0.0795, 564.4),
    "frames": (0.0689, 30_020),
    "quality": (0.000567, 1064),
    "export": (0.0319, 17_730),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=10_000, help="of video")
    parser.add_argument("--kept", type=float, default=KEPT, help="share of it that becomes episodes")
    parser.add_argument("--measure", type=float, metavar="SECONDS")
    arguments = parser.parse_args()
    if arguments.measure:
        with TemporaryDirectory() as folder:
            for stage, (seconds, size, unit) in measure(Path(folder), arguments.measure).items():
                print(f'    "{stage}": ({seconds:.3g}, {size:.4g}),  # {unit}')
    else:
        print("\n".join(plan(arguments.hours, arguments.kept)))


def plan(hours: float, kept: float) -> Iterator[str]:
    """Markdown."""
    yield "| stage | what | s for each | | hours of a core or GPU | GB written | from |"
    yield "|---|---|---|---|---|---|---|"
    for cost in COSTS:
        least, most, size = cost.least, cost.most, cost.bytes
        if cost.source == "measured":
            least, size = MEASURED[cost.stage]
            most = least
        units = cost.units(hours, kept)
        spent = _range(units * least / 3600, units * most / 3600) + (" GPU" if cost.gpu else " CPU")
        cells = (
            cost.stage,
            cost.what,
            _range(least, most),
            cost.unit,
            spent,
            f"{units * size / 1e9:,.1f}",
            cost.source,
        )
        yield f"| {' | '.join(cells)} |"
    rows = hours * 3600 * FPS * kept
    items = hours / VIDEO_H
    row_bytes = 3 * 16 * 8 + 3 * 9 + 2 * 27 * 4  # poses, flags and confidence, state and action
    yield ""
    source = f"{hours:,.0f} h of video: {hours * SOURCE_GB_H / 1000:,.1f} TB, {items:,.0f} videos."
    episodes = f"{rows / 1e6:,.1f} million frames in episodes ({kept:.0%})"
    yield f"{source} {episodes}; their rows in a trainer's memory: {rows * row_bytes / 1e9:,.1f} GB."


def _range(least: float, most: float) -> str:
    few, many = (f"{value:,.0f}" if value >= 100 else f"{value:.2g}" for value in (least, most))
    return few if few == many else f"{few} to {many}"


def measure(folder: Path, seconds: float) -> dict[str, tuple[float, float, str]]:
    """Of each stage that needs no GPU: seconds of a core and bytes, for one unit; and the unit."""
    source = _video(folder / "video.mp4", seconds)
    given = folder / "segments.json"
    given.write_text(json.dumps({"video": [_segment(0.0, seconds)]}))
    config = EgocentricConfig.model_validate({"segment": {"given": given}, "filter": {"enabled": False}})
    item = Item("video", "video", source)
    found: dict[str, tuple[float, float, str]] = {}
    places: dict[str, Path] = {}
    for name, stage in (("ingest", ingest), ("segment", segment), ("filter", filter_segments), ("frames", frames)):
        places[name] = folder / name
        places[name].mkdir()
        spent = _cpu_s(lambda stage=stage, name=name: stage(item, config, places, places[name]))
        count = seconds * FPS if name == "frames" else seconds
        found[name] = spent / count, _size(places[name]) / count, FRAME if name == "frames" else SECOND
    episode = places["frames"] / "video_000"
    trajectory = _person(int(seconds * FPS))
    result = check_quality(trajectory)
    spent = _cpu_s(lambda: check_quality(trajectory).write(folder / "quality"))
    found["quality"] = spent / len(trajectory), _size(folder / "quality") / len(trajectory), FRAME
    assert len(result.episodes) == 1
    files = [EpisodeFiles("video_000", folder / "quality/000/trajectory.npz", episode / "frames.mp4", 0, "wipe")]
    spent = _cpu_s(lambda: export_corpus(files, folder / "corpus", workers=1))
    found["export"] = spent / len(trajectory), _size(folder / "corpus") / len(trajectory), FRAME
    return found


def _cpu_s(work: Callable[[], object]) -> float:
    """Of this process and of those that it started."""

    def now() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(it.ru_utime + it.ru_stime for it in used)

    before = now()
    work()
    return now() - before


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _segment(start: float, end: float) -> dict[str, object]:
    return {"start": start, "end": end, "action": "wipe", "objects": ["table"], "task": "Wipe the table"}


def _video(path: Path, seconds: float, fps: int = 30) -> Path:
    """Full HD through a fisheye lens: a camera that moves over a textured plane, with the noise of a sensor."""
    numbers = np.random.default_rng(0)
    coarse = numbers.integers(0, 256, (90, 160, 3), dtype=np.uint8)
    plane = cv2.resize(coarse, (3840, 2160), interpolation=cv2.INTER_CUBIC)
    noise = [numbers.normal(0, 3, (1080, 1920, 1)) for _ in range(4)]
    writer = VideoWriter(path, fps, 1920, 1080)
    for frame in range(int(seconds * fps)):
        x, y = (int(500 + 450 * np.sin(0.02 * frame * rate)) for rate in (1.0, 0.7))
        writer.add((plane[y : y + 1080, x : x + 1920] + noise[frame % 4]).clip(0, 255).astype(np.uint8))
    writer.close()
    lens = {"model": "fisheye", "width": 1920, "height": 1080, "fx": 870.0, "fy": 870.0, "cx": 959.5, "cy": 539.5}
    path.with_suffix(".camera.json").write_text(json.dumps({**lens, "distortion": [0.03, -0.01, 0.002, -0.001]}))
    return path


def _person(count: int) -> EgoTrajectory:
    """A camera and two wrists that move slowly, with a gap of half a second in one of them."""
    t = np.arange(count) / FPS
    waves = np.sin(t[:, None, None] * np.linspace(0.3, 1.1, 18).reshape(3, 6) + np.arange(3)[:, None])
    bodies = se3_exp(0.1 * waves)
    bodies[:, 1:, :3, 3] += [0.0, 0.1, 0.4]
    bodies[count // 2 : count // 2 + 5, 1] = np.nan
    return EgoTrajectory.of(np.arange(count) * STEP_NS, bodies)


if __name__ == "__main__":
    main()
