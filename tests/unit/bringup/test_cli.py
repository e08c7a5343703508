"""The command line answers at once, and errors are one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"rclpy", "torch", "mujoco", "matplotlib", "cv2", "numpy", "pandas", "pyarrow"}
COMMANDS = [
    "up",
    "demo",
    "record",
    "top",
    "trace",
    "bag info",
    "bag validate",
    "bag recover",
    "bag play",
    "dataset build",
    "dataset inspect",
    "train",
    "eval",
    "compare",
    "policy inspect",
    "policy convert",
    "policy export",
    "policy bench",
    "sim demos",
]

# Runs the command line in this process and then tells on stderr what was imported.
PROBE = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
from activemimic_bringup.cli.main import app
app(sys.argv[1:])
"""

# As PROBE, where rclpy cannot be found.
WITHOUT_ROS = """
import sys
class NoRos:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "rclpy":
            raise ModuleNotFoundError("No module named 'rclpy'", name="rclpy")
sys.meta_path.insert(0, NoRos())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "rclpy" else found(name, *more)
from activemimic_bringup.cli.main import app
app(sys.argv[1:])
"""


def run(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("words", ["", *COMMANDS])
def test_help_imports_nothing_heavy(words: str) -> None:
    result = run(PROBE, *words.split(), "--help")
    assert result.returncode == 0, result.stderr
    imported = set(json.loads(result.stderr.splitlines()[-1]))
    assert HEAVY & imported == set()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("up nothing", 2, "error: no graph 'nothing'; there are: sim, policy, record, evaluate"),
        ("up sim colour:=red", 2, "error: graph sim has no argument 'colour'"),
        ("up sim colour=red", 2, "error: expected name:=value, found 'colour=red'"),
        ("policy inspect nowhere", 2, "error: checkpoint nowhere"),
        ("policy convert nowhere {tmp}/out --preset small", 2, "error: preset 'small': expected activemimic or pi0"),
        ("policy export nowhere", 2, "error: checkpoint nowhere"),
        ("policy export nowhere --precision int4", 2, "error: precision int4: expected fp32 or int8"),
        ("policy bench --preset huge", 2, "error: preset 'huge': expected one of activemimic, pi0, small, tiny"),
        ("policy bench --runtime magic", 2, "error: runtime 'magic': expected one of eager, compiled"),
        ("policy bench --runtime cuda_graph", 2, "error: runtime cuda_graph needs a CUDA device, found device 'cpu'"),
        ("policy bench --runtime onnx:int4", 2, "error: precision 'int4': runtime onnx has fp32 and int8"),
        ("dataset inspect nowhere", 1, "error: nowhere"),
        ("dataset build nowhere --out {tmp}/dataset", 1, "error:"),
        ("trace nowhere --out {tmp}/run.png", 1, "error: nowhere: there is no such folder"),
        ("trace nowhere --out {tmp}/run.pdf", 2, "expected a file that ends in .png or .html"),
        ("bag info nowhere", 1, "error: nowhere: there is no such folder"),
        ("bag info {tmp}", 1, "error: no recorded episode at"),
        ("bag validate {tmp}", 1, "error: no recorded episode at"),
        ("bag recover nowhere", 1, "error: nowhere: there is no such folder"),
        ("bag play nowhere", 1, "error: nowhere: there is no such folder"),
        ("record --manual", 2, "error: --manual reads keys and needs a terminal"),
        ("record --manual --episodes 5 --out x", 2, "error: --out, --episodes: not with --manual"),
        ("train nowhere.yaml", 2, "error: nowhere.yaml: cannot be read"),
        ("eval --policy nowhere --out {tmp}", 2, "error: policy 'nowhere': expected a checkpoint's folder"),
        ("eval --task walking --out {tmp}", 2, "error: there is no task 'walking': expected one of"),
        ("eval --plan README.md --out {tmp}", 2, "error: README.md: expected a trial plan"),
        ("eval --trials 500 --out {tmp}", 2, "error: plan reaching: expected at most 18 trials, asked for 500"),
        ("eval --perturbation fog --out {tmp}", 2, "error: there is no perturbation 'fog': expected flashing_light"),
        ("eval --policy hold --through-ros", 2, "error: policy 'hold' works in lock-step only"),
        ("eval --latency-ms 100 --through-ros", 2, "error: --latency-ms and --rtc-mode are for lock-step"),
        ("compare nowhere {tmp}", 1, "error: nowhere/results.json: there is no such results file"),
        ("sim demos --first-seed 1000000 --out {tmp}", 2, "error: seed 1000000: expected seeds below 1000000"),
    ],
)
def test_an_error_of_the_project_is_one_line(words: str, code: int, message: str, tmp_path: Path) -> None:
    result = run(PROBE, *words.format(tmp=tmp_path).split())
    assert result.returncode == code, result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_debug_shows_the_traceback() -> None:
    result = run(PROBE, "--debug", "up", "nothing")
    assert result.returncode == 1
    assert "graphs.graph" in result.stderr


@pytest.mark.parametrize(
    "words", ["up sim", "record", "record --manual", "bag play x", "top", "eval --through-ros", "demo"]
)
def test_what_needs_ros_says_how_to_come_by_it(words: str) -> None:
    result = run(WITHOUT_ROS, *words.split())
    assert result.returncode == 1
    assert "source your installation" in result.stderr
    assert "Traceback" not in result.stderr


def test_what_needs_no_ros_works_without_it() -> None:
    assert "cannot be read" in run(WITHOUT_ROS, "train", "nowhere.yaml").stderr
    assert run(WITHOUT_ROS, "up", "sim", "--show-args").returncode == 0
