"""The demo's whole loop on a small scale: real ROS 2 processes, real bags, a policy that is trained and served."""

import importlib.util
import json

import pytest
from activemimic_bringup.demo.from_scratch import DemoPlan, run
from rich.console import Console

pytestmark = pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="needs ROS 2 (rclpy)")

SMALL = DemoPlan(
    recorded=range(0, 1),
    generated=range(100, 102),
    trials=1,
    training=("steps=20", "checkpoint_every=20", "batch_size=4"),
)


def test_the_loop_runs_from_recording_to_report_and_goes_on_where_it_was_killed(tmp_path):
    out = tmp_path / "demo"
    summary = run(out, Console(quiet=True), SMALL)

    assert summary["episodes_recorded"] == summary["episodes_recorded_successful"] == 1
    assert summary["messages_lost"] == 0
    assert summary["dataset_episodes"] == 3
    assert summary["trials"] == 1
    assert summary["inference_p50_ms"] > 0
    assert 95.0 < summary["control_rate_hz"] < 105.0
    assert json.loads((out / "summary.json").read_text()) == summary
    page = (out / "report.html").read_text()
    assert f"{summary['successes']} of 1" in page

    made_at = {path: path.stat().st_mtime_ns for path in (out / "train").rglob("*.safetensors")}
    (out / "report.html").unlink()
    assert run(out, Console(quiet=True), SMALL) == summary
    assert (out / "report.html").exists()
    assert made_at == {path: path.stat().st_mtime_ns for path in (out / "train").rglob("*.safetensors")}
