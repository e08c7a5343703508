"""The demo's report: everything it links is there, and summary.json says what ran."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from activemimic_bringup.demo.demo_page import write_report
from activemimic_data.bags import EpisodeReader
from generated import Generated, as_trial

NAMED_BY_THE_ISSUE = {
    "episodes_recorded",
    "messages_lost",
    "dataset_frames",
    "loss_first",
    "loss_last",
    "trials",
    "successes",
    "control_rate_hz",
    "control_period_p99_ms",
    "inference_p50_ms",
    "real_time_factor",
}
STAGES = {"record": 61.0, "generate": 80.2, "build dataset": 12.0, "train": 240.5, "evaluate": 90.0}
LOSSES = [2.0 / step for step in range(1, 61)]


@pytest.fixture(scope="module")
def demo(slipping: Generated, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the stages of a small demo leave: a recorded episode, a failed trial, a dataset, a training run."""
    out = tmp_path_factory.mktemp("demo")
    _results(out / "recorded", as_trial(slipping.made[0].folder, out / "recorded" / "reaching_a", chunks=0), True)
    _results(out / "trials", as_trial(slipping.made[1].folder, out / "trials" / "reaching_b"), False)
    shutil.copytree(dataset, out / "dataset")
    (out / "train").mkdir()
    training = {"steps": 60, "frames_per_s": 120.0, "parameters": 1_300_000, "loss_first": 2.0, "loss_last": 0.03}
    (out / "train" / "summary.json").write_text(json.dumps(training))
    rows = [f"{step},{loss},0.001,1.0,120.0" for step, loss in enumerate(LOSSES, start=1)]
    (out / "train" / "metrics.csv").write_text("\n".join(["step,loss,lr,grad_norm,frames_per_s", *rows]) + "\n")
    return out


@pytest.fixture(scope="module")
def summary(demo: Path) -> dict[str, Any]:
    return write_report(demo, STAGES)


def test_every_picture_and_video_of_the_report_exists(demo: Path, summary: dict[str, Any]) -> None:
    page = (demo / "report.html").read_text()
    links = re.findall(r'(?:src|href|poster)="([^"]+)"', page)
    assert {Path(link).suffix for link in links} == {".mp4", ".png"}
    assert sum(link.endswith(".mp4") for link in links) == 2
    missing = [link for link in links if not (demo / link).is_file() or (demo / link).stat().st_size < 1000]
    assert missing == []


def test_the_summary_has_what_was_asked_for_and_is_what_the_file_holds(demo: Path, summary: dict[str, Any]) -> None:
    assert summary.keys() >= NAMED_BY_THE_ISSUE
    assert json.loads((demo / "summary.json").read_text(), parse_constant=_refuse) == summary


def test_the_summary_counts_what_is_in_the_bags(demo: Path, summary: dict[str, Any], slipping: Generated) -> None:
    bags = [EpisodeReader(demo / "recorded" / "reaching_a").info, EpisodeReader(demo / "trials" / "reaching_b").info]
    assert summary["episodes_recorded"] == summary["episodes_recorded_successful"] == 1
    assert (summary["trials"], summary["successes"]) == (1, 0)
    assert summary["messages_recorded"] == sum(sum(info.messages.values()) for info in bags)
    assert summary["messages_lost"] == sum(info.messages_lost for info in bags)
    assert summary["dataset_episodes"] == len(slipping.made)
    assert summary["control_rate_hz"] == pytest.approx(30.0, abs=0.01)
    assert summary["control_period_p99_ms"] == pytest.approx(33.33, abs=0.01)
    assert summary["inference_p50_ms"] == 50.0
    assert summary["chunk_latency_p50_ms"] == 70.0
    assert summary["real_time_factor"] == 0.99
    assert (summary["loss_first"], summary["loss_last"]) == (2.0, 0.03)


def test_the_report_says_the_result_plainly(demo: Path, summary: dict[str, Any]) -> None:
    page = (demo / "report.html").read_text()
    assert "0 of 1 (0 %, 95 % interval 0 % to 79 %)" in page
    assert "the obstacle was toppled &lt;by the hand&gt;" in page
    for stage, seconds in STAGES.items():
        assert f"<td>{stage}</td>" in page
        assert f">{seconds:.0f} s</td>" in page


def test_a_policy_that_never_moved_still_gets_a_report(demo: Path, slipping: Generated, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    shutil.copytree(demo, out)
    shutil.rmtree(out / "trials")
    _results(out / "trials", as_trial(slipping.made[1].folder, out / "trials" / "reaching_c", chunks=0), False)
    summary = write_report(out, STAGES)
    assert summary["inference_p50_ms"] is None
    assert summary["chunk_latency_p50_ms"] is None
    assert summary["control_rate_hz"] == pytest.approx(30.0, abs=0.01)
    assert json.loads((out / "summary.json").read_text(), parse_constant=_refuse) == summary
    assert "0 of 1" in (out / "report.html").read_text()


def _results(folder: Path, episode: Path, success: bool) -> None:
    failure = "" if success else "the obstacle was toppled <by the hand>"
    entry = {
        "seed": 0 if success else 1_000_000,
        "success": success,
        "time_s": 10.0,
        "stage": "grasped",
        "failure": failure,
        "episode": f"/on/the/recorders/machine/{episode.name}",
    }
    (folder / "results.json").write_text(json.dumps({"protocol": {}, "trials": [entry]}))


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")
