"""The whole graph in simulation: what runs is what the reference pages say, and one command records an episode."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from activemimic_bringup.launching.graph import GRAPHS
from activemimic_bringup.launching.parameters import NODES
from activemimic_bringup.launching.processes import RunningGraph
from activemimic_data.bags import load_episode_info
from activemimic_description.codec import decode_slots, encode_slots
from activemimic_description.contract import load_contract
from activemimic_description.messages import RosMessages, ros_class
from activemimic_description.stack_topics import SERVICES, TOPICS
from rcl_interfaces.srv import DescribeParameters, ListParameters, SetParameters
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from .checkpoints import untrained_checkpoint
from .conftest import World, wait_until
from .launcher import GOES_ON, KEY_OFF, UP, SimulatedScene

DOCS = Path(__file__).parents[2] / "docs"


def documented_sim_parameters():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SIM


def test_the_running_graph_is_the_documented_one(world: World, tmp_path: Path) -> None:
    checkpoint = untrained_checkpoint(tmp_path / "checkpoint", load_contract("g1_sim"))
    specs = GRAPHS["sim"].specs({"checkpoint": str(checkpoint), "out": str(tmp_path / "episodes")})
    lines: list[str] = []
    environment = {"ROS_DOMAIN_ID": str(world.domain)}
    with RunningGraph(specs, lambda node, line: lines.append(f"{node}: {line}"), environment) as graph:
        for node in ("sim", "controller", "policy", "recorder"):
            wait_until(
                lambda node=node: any(f"[{node}]: ready" in line for line in lines) or graph.wait(timeout_s=0.1) == 0,
                f"{node} to be ready; so far: {lines}",
                40.0,
            )
        wait_until(
            lambda: {s.name for s in SERVICES} <= {name for name, _ in world.node.get_service_names_and_types()},
            "all services",
        )
        offered = dict(world.node.get_service_names_and_types())
        assert {service.name: [service.type] for service in SERVICES}.items() <= offered.items()
        published = dict(world.node.get_topic_names_and_types())
        assert {topic.name: [topic.type] for topic in TOPICS}.items() <= published.items()
        for node, parameters in {"sim": documented_sim_parameters(), **NODES}.items():
            if node != "evaluator":
                check_parameters(world, node, {parameter.name: parameter.description for parameter in parameters})
    assert graph.stop() == {"sim": 0, "controller": 0, "policy": 0, "recorder": 0}


def check_parameters(world: World, node: str, documented: dict[str, str]) -> None:
    listed = world.call(ListParameters, f"/{node}/list_parameters").result.names
    assert set(listed) - {"use_sim_time", "start_type_description_service"} == set(documented)
    described = world.call(DescribeParameters, f"/{node}/describe_parameters", names=list(documented)).descriptors
    assert {entry.name: entry.description for entry in described} == documented


def test_a_reset_refuses_what_cannot_be_and_goes_from_task_to_task(world: World) -> None:
    """Parameters come one by one, so that for a moment they may not fit each other."""
    lines: list[str] = []
    environment = {"ROS_DOMAIN_ID": str(world.domain)}
    with RunningGraph(GRAPHS["sim"].specs({})[:1], lambda _, line: lines.append(line), environment) as graph:
        wait_until(lambda: any("[sim]: ready" in line for line in lines), f"the simulator; so far: {lines}", 40.0)

        def reset(**values: str | int) -> tuple[bool, str]:
            for name, value in values.items():
                parameter = Parameter(name, value=value).to_parameter_msg()
                (answer,) = world.call(SetParameters, "/sim/set_parameters", parameters=[parameter]).results
                if not answer.successful:
                    return False, answer.reason
            answer = world.call(Trigger, "/sim/reset")
            return answer.success, answer.message

        assert reset(task="restocking", cell=80, seed=1) == (True, "task restocking, seed 1")
        assert reset(task="reaching", seed=2) == (False, "task reaching: expected a cell of 0 to 8, found 80")
        assert reset(cell=8) == (True, "task reaching, seed 2")
        assert reset(task="juggling")[1].startswith("task: there is no 'juggling': expected restocking, reaching")
        assert reset(perturbations="fog")[1].startswith("perturbations: there is no 'fog': expected flashing_light")
        assert reset(perturbations="unseen_yogurt_a")[1].endswith("expected a task with a yogurt, found reaching")
        assert reset(task="finding", cell=-1) == (True, "task finding, seed 2")
    assert graph.stop() == {"sim": 0}


@contextmanager
def simulator(world: World, **parameters: str) -> Iterator[tuple[list[np.ndarray], Callable[[np.ndarray, int], None]]]:
    """The simulator alone: every joint state (S,) it publishes, and how to command all slots at a stamp."""
    contract, lines = load_contract("g1_sim"), []
    (source,), (sink,) = contract.state, contract.commands
    states: list[np.ndarray] = []

    def on_state(message) -> None:
        indices, values = decode_slots(source, message)
        states.append(values[np.argsort(indices)])

    listener = world.node.create_subscription(ros_class(source.type), source.topic, on_state, 10)
    commands = world.node.create_publisher(ros_class(sink.type), sink.topic, 10)
    environment = {"ROS_DOMAIN_ID": str(world.domain)}
    with RunningGraph(GRAPHS["sim"].specs(parameters)[:1], lambda _, line: lines.append(line), environment):
        wait_until(lambda: any("[sim]: ready" in line for line in lines), f"the simulator; so far: {lines}", 40.0)
        wait_until(lambda: commands.get_subscription_count() > 0 and bool(states), "the simulator to listen")
        yield states, lambda slots, stamp_ns: commands.publish(encode_slots(sink, slots, stamp_ns, RosMessages()))
    world.node.destroy_subscription(listener)
    world.node.destroy_publisher(commands)
    wait_until(lambda: world.node.count_publishers(sink.topic) == 0, "the simulator to be alone again")


def test_a_command_that_waited_while_the_scene_was_reset_moves_nothing(world: World) -> None:
    elbow = load_contract("g1_sim").slots.index("left_arm_4")
    with simulator(world) as (states, command):
        before_ns = world.now_ns()
        assert world.call(Trigger, "/sim/reset").success
        states.clear()
        wait_until(lambda: bool(states), "a joint state after the reset")
        start = states[-1].copy()
        away = start.copy()
        away[elbow] += 0.4
        for stamp_ns, moves in ((before_ns, False), (world.now_ns(), True)):
            command(away, stamp_ns)
            time.sleep(1.0)
            assert (abs(states[-1][elbow] - start[elbow]) > 0.2) == moves


def test_an_expert_that_is_called_to_a_robot_on_its_way_goes_on_from_there(world: World) -> None:
    slots = load_contract("g1_sim").slots
    yaw, pitch = slots.index("head_yaw"), slots.index("head_pitch")
    targets: list[float] = []

    def on_chunk(message: JointTrajectory) -> None:
        targets.append(message.points[0].positions[message.joint_names.index("head_yaw")])

    teleop = world.node.create_subscription(JointTrajectory, "/activemimic/teleop", on_chunk, 10)
    with simulator(world, task="finding") as (states, command):

        def first_turn() -> float:
            """How far the expert turns the head in its first second."""
            targets.clear()
            assert world.call(SetBool, "/sim/expert", data=True).success
            wait_until(lambda: len(targets) >= 10, "a second of the expert")
            assert world.call(SetBool, "/sim/expert", data=False).success
            return targets[9] - states[-1][yaw]

        assert first_turn() > 0.2  # it looks to the left first
        turned = states[-1].copy()
        turned[[yaw, pitch]] = 0.3, 0.45
        command(turned, world.now_ns())
        wait_until(lambda: abs(states[-1][yaw] - 0.3) < 0.01 and states[-1][pitch] > 0.44, "the head to be turned")
        assert first_turn() < -0.2  # a lowered gaze has been to the left already
    world.node.destroy_subscription(teleop)


def test_an_evaluator_alone_names_the_service_it_misses(world: World, tmp_path: Path) -> None:
    evaluator = world.launch("evaluator", out=str(tmp_path), service_timeout_s=0.5)
    assert evaluator.ended() == 1
    assert "/policy/get_state: no such service after 0.5 s; is its node running?" in evaluator.text


def test_one_command_records_an_expert_episode_without_losing_a_message(world: World, tmp_path: Path) -> None:
    words = ["record", "--episodes", "1", "--first-seed", "5"]
    words += ["--time-limit-s", "3"]  # too short for a grasp: what is tested is the recording
    for attempt in ("first", "second", "third"):
        result = subprocess.run(
            [sys.executable, "-m", "activemimic_bringup.cli.main", *words, "--out", str(tmp_path / attempt)],
            env={**os.environ, "ROS_DOMAIN_ID": str(world.domain)},
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        info = load_episode_info(tmp_path / attempt / "reaching_000000")
        assert (info.task, info.seed, info.messages_lost) == ("reaching", 5, 0)
        assert info.outcome == "failure"
        assert info.instruction != ""
        if "the controller holds" not in result.stdout:
            break  # on a machine that stalls the controller holds, and the episode is over: it is recorded again
    told = re.search(r"trial 1/1, seed 5: not done within 3 s after (\S+) s", result.stdout)
    assert told, result.stdout
    assert 3 <= float(told[1]) < 10  # by the clock of a machine that may be busy
    assert info.messages["/joint_command"] > 60


def test_a_killed_simulator_leaves_a_controller_that_holds(world: World) -> None:
    scene = SimulatedScene(world)
    launcher = scene.launch(*UP, "sim", KEY_OFF, nodes=2)
    try:
        assert world.call(SetBool, "/sim/expert", data=True).success
        scene.wave()  # as the expert says
        begin_s = time.monotonic()
        os.kill(launcher.pid("sim"), signal.SIGKILL)
        scene.assert_holds(begin_s)
        launcher.wait_for(f"node sim ended with exit code -9; {GOES_ON}")
        launcher.child.send_signal(signal.SIGTERM)
        assert launcher.ended() == 1
    finally:
        launcher.close()
