"""The controller outlives the nodes beside it, and ends at rest: whatever ends the launcher, in the middle of a motion.

The variants of `ros2 launch` need a built workspace that is sourced.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from activemimic_bringup.launching.graph import RESPAWN_DELAY_S

from .checkpoints import untrained_checkpoint
from .conftest import World
from .fault_scene import CONTRACT, STILL, Command, Row, assert_within_limits, speed
from .launcher import GOES_ON, KEY_OFF, UP, LaunchedScene, Launcher, wait_until_ended


def ros2_launch() -> str:
    """Why `ros2 launch` cannot be tried here; "" if it can."""
    if importlib.util.find_spec("launch_ros") is None or shutil.which("ros2") is None:
        return "needs ros2 launch (not on PyPI): a ROS installation"
    found = subprocess.run(["ros2", "pkg", "prefix", "activemimic_bringup"], capture_output=True)
    return "needs the built workspace to be sourced: source ros2_ws/install/setup.bash" if found.returncode else ""


@pytest.fixture(params=["up", "ros2 launch"])
def launch(request: pytest.FixtureRequest) -> Callable[..., tuple[str, ...]]:
    """The words that start a graph."""
    if request.param == "ros2 launch":
        if reason := ros2_launch():
            pytest.skip(reason)
        return lambda graph, *words: ("ros2", "launch", "activemimic_bringup", f"{graph}.launch.py", *words, KEY_OFF)
    return lambda graph, *words: (*UP, graph, *words, KEY_OFF)


@pytest.fixture(scope="module")
def scene(world: World) -> Iterator[LaunchedScene]:
    scene = LaunchedScene(world)
    yield scene
    scene.close()


@pytest.fixture
def started(scene: LaunchedScene) -> Iterator[Callable[..., Launcher]]:
    """Starts a graph and waits for its nodes."""
    yield scene.launch
    scene.controller.close()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_checkpoint(tmp_path_factory.mktemp("policy") / "checkpoint", CONTRACT, gentle=True)


def assert_ended_at_rest(commands: list[Command], since_s: float) -> None:
    """The robot moved at `since_s`, braked within its limits, and was sent where it rests twice at least."""
    time.sleep(0.5)  # what was sent last may be on its way
    assert speed([command for command in commands if command.received_s < since_s][-10:]) > 0.1
    assert_within_limits(commands)
    last = np.array([command.slots for command in commands[-3:]])
    assert np.abs(np.diff(last, axis=0)).max() <= STILL


def test_a_killed_policy_leaves_a_controller_that_holds(
    scene: LaunchedScene, started: Any, launch: Any, checkpoint: Path
) -> None:
    words = ("contract:=g1_sim", f"checkpoint:={checkpoint}", "respawn_policy:=true")
    launcher = started(*launch("policy", *words), nodes=2)
    scene.run()
    begin_s = time.monotonic()
    os.kill(launcher.pid("policy"), signal.SIGKILL)
    scene.assert_holds(begin_s)
    launcher.wait_for("node policy ended with exit code -9")
    assert GOES_ON in launcher.text
    launcher.wait_for("[policy]: ready", 2)
    assert time.monotonic() - begin_s > RESPAWN_DELAY_S
    assert scene.holds(begin_s) is not None
    launcher.ctrl_c()
    code = launcher.ended()
    if launcher.child.args[0] != "ros2":  # that reports no node's exit code
        assert code == 1


def ctrl_c(launcher: Launcher) -> None:
    launcher.ctrl_c()


def terminate(launcher: Launcher) -> None:
    launcher.child.send_signal(signal.SIGTERM)


def hang_up(launcher: Launcher) -> None:
    launcher.hang_up()


def kill(launcher: Launcher) -> None:
    launcher.child.kill()


@pytest.mark.parametrize("end", [ctrl_c, terminate, hang_up, kill])
def test_the_last_commands_are_at_rest(
    scene: LaunchedScene, started: Any, launch: Any, tmp_path: Path, end: Callable[[Launcher], None]
) -> None:
    launcher = started(*launch("record", f"out:={tmp_path}"), nodes=2)
    scene.wave_by_itself()
    pids = {name: launcher.pid(name) for name in ("controller", "recorder")}
    begin_s = time.monotonic()
    end(launcher)
    wait_until_ended(pids, 6.0)
    code = launcher.ended()
    if launcher.child.args[0] != "ros2":  # that ends at SIGTERM and SIGHUP as a killed one, before its nodes
        assert code == (-signal.SIGKILL if end is kill else 0), launcher.text
    assert_ended_at_rest(scene.watched.commands, begin_s)
    assert "Traceback" not in launcher.text
    rest_s = scene.watched.commands[-1].received_s - begin_s
    name = f"{launcher.child.args[0].rpartition('/')[2]}: {end.__name__.replace('_', ' ')}"
    scene.rows.append(Row(name.replace("python", "up"), 0.0, rest_s, "the last commands are at rest; all nodes ended"))


def test_a_second_ctrl_c_does_not_wait_for_rest(started: Any, scene: LaunchedScene) -> None:
    script = "from activemimic_bringup.launching import graph, processes; " + (
        "spec = graph.NodeSpec('controller', '', '', 'tests.integration.restless_node', essential=True); "
        "raise SystemExit(processes.run([spec], lambda name, line: print(name, line, flush=True)))"
    )
    launcher = started(sys.executable, "-c", script, nodes=1)
    begin_s = time.monotonic()
    launcher.ctrl_c()
    launcher.wait_for("braking; a second Ctrl-C ends at once")
    time.sleep(max(0.0, begin_s + 0.6 - time.monotonic()))
    launcher.ctrl_c()
    assert launcher.ended() == 1
    assert "up second signal: the controller is not waited for, while the robot may still move" in launcher.text
    assert "second signal: ends at once, while the robot may still move" in launcher.text


def test_a_policy_that_cannot_start_ends_the_graph(started: Any, launch: Any, scene: LaunchedScene) -> None:
    launcher = started(*launch("policy", "contract:=g1_sim", "checkpoint:=nowhere", "respawn_policy:=true"), nodes=0)
    assert launcher.ended() == 1
    launcher.wait_for("error: ")
    assert "checkpoint nowhere" in launcher.text
    assert "node policy ended with exit code 2; ending the others" in launcher.text
