"""What receiving three 640x480 JPEG cameras, joint states and commands at 30 Hz costs, and what gets lost.

    python benchmarks/recording.py [--seconds 20]

One process publishes. Two others receive in turn: the recorder node, while it records, and what the policy node does
to receive (subscriptions and `PolicyRunner`, decoding only what an inference every 0.4 s needs; the network takes no
time). Shares are of one core, user and system time, of the receiving process with all its threads.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from activemimic_bringup.launching.graph import NodeSpec, shared_environment
from activemimic_bringup.launching.processes import command_line
from activemimic_data.bags import find_episodes, load_episode_info
from activemimic_description.codec import encode_image, encode_slots
from activemimic_description.contract import CONTRACTS_FOLDER, Contract, load_contract
from activemimic_description.messages import BagMessages, ros_class
from activemimic_description.robot import load_robot
from activemimic_policy.inference import InferenceStages
from activemimic_policy.policy_runner import PolicyRunner
from rich.console import Console
from rich.table import Table

FRAMES = 30  # different ones, again and again
QUALITY = 90
INFERENCE_S = 0.4
SETTLE_S = 2.0
PATIENCE_S = 30.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    seconds = parser.parse_args().seconds
    os.environ.update(shared_environment())
    table = Table("receiver", "CPU", "messages", "lost", "MB/s", title=f"three 640x480 JPEG cameras, {seconds:g} s")
    with tempfile.TemporaryDirectory() as folder:
        contract = Path(folder) / "contract.yaml"
        shipped = (CONTRACTS_FOLDER / "g1_sim.yaml").read_text()
        contract.write_text(shipped.replace("width: 224", "width: 640").replace("height: 224", "height: 480"))
        with beside(publish, contract):
            table.add_row("recorder_node", *record(contract, Path(folder), seconds))
            table.add_row("policy, receiving", *receive(contract, seconds))
    Console().print(table)


def record(contract: Path, folder: Path, seconds: float) -> list[str]:
    """The recorder's row: it records for so long."""
    parameters = {"contract": str(contract), "out": str(folder / "episodes"), "min_free_gb": 0.0}
    spec = NodeSpec(
        "recorder", "activemimic_bringup", "recorder_node", "activemimic_bringup.nodes.recorder_node", parameters
    )
    child = subprocess.Popen(command_line(spec), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with client() as call:
            call("start")
            time.sleep(SETTLE_S)
            share = cpu_share(child.pid, seconds)
            call("stop")
    finally:
        child.terminate()
        child.wait()
    (episode,) = find_episodes([folder / "episodes"])
    info = load_episode_info(episode)
    size = sum(file.stat().st_size for file in episode.glob("*.mcap"))
    count = sum(info.messages[topic] for topic in load_contract(contract).topics())
    return [f"{share:.1%}", str(count), str(info.messages_lost), f"{size / info.duration_s / 1e6:.1f}"]


def receive(contract: Path, seconds: float) -> list[str]:
    """The row of the policy's receiving part."""
    spawn = multiprocessing.get_context("spawn")
    results: Any = spawn.Queue()
    ended = spawn.Event()
    with beside(listen, contract, results, ended) as child:
        results.get(timeout=PATIENCE_S)  # it infers
        time.sleep(SETTLE_S)
        share = cpu_share(child.pid, seconds)
        ended.set()
        count, lost, chunks = results.get(timeout=PATIENCE_S)
    return [f"{share:.1%}", f"{count}, {chunks} chunks", str(lost), ""]


def publish(contract_path: Path) -> None:
    """Publish for ever: messages encoded beforehand, with the stamps of now."""
    import rclpy
    from activemimic_bringup.nodes.bag_replay import shifted
    from activemimic_bringup.nodes.node import qos_profile

    contract = load_contract(contract_path)
    frames = encoded(contract)
    rclpy.init()
    node = rclpy.create_node("robot")
    publishers = {
        topic: node.create_publisher(ros_class(entry.type), topic, qos_profile(entry.qos))
        for topic, entry in contract.topics().items()
    }
    number = 0

    def on_timer() -> None:
        nonlocal number
        now_ns = node.get_clock().now().nanoseconds
        for topic, messages in frames.items():
            publishers[topic].publish(shifted(messages[number % FRAMES], now_ns))
        number += 1

    node.create_timer(1 / 30, on_timer)
    rclpy.spin(node)


def listen(contract_path: Path, results: Any, ended: Any) -> None:
    """As the policy node receives, and infers until `ended`; puts (messages, lost, chunks) so far in `results`, twice.

    The first time at the first chunk, the second at the end.
    """
    import rclpy
    from activemimic_bringup.nodes.node import qos_profile
    from rclpy.executors import SingleThreadedExecutor

    contract = load_contract(contract_path)
    runner = PolicyRunner(NoNetwork(contract), contract, max_observation_age_s=0.5)
    rclpy.init()
    node = rclpy.create_node("policy")
    numbers: dict[str, list[int]] = {topic: [] for topic in runner.topics}

    def subscribe(topic: str, entry: Any) -> None:
        def on_message(message: Any, info: Any) -> None:
            numbers[topic].append(info["publication_sequence_number"])
            runner.add(topic, message, node.get_clock().now().nanoseconds)

        node.create_subscription(ros_class(entry.type), topic, on_message, qos_profile(entry.qos))

    def infer() -> None:
        while True:
            time.sleep(INFERENCE_S)
            runner.infer("work", node.get_clock().now().nanoseconds)

    for topic in runner.topics:
        subscribe(topic, contract.topics()[topic])
    threading.Thread(target=infer, daemon=True).start()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    for over in (lambda: runner.chunks > 0, ended.is_set):
        while not over():
            executor.spin_once(timeout_sec=0.1)
        count = sum(map(len, numbers.values()))
        lost = sum(seen[-1] - seen[0] + 1 - len(seen) for seen in numbers.values())
        results.put((count, lost, runner.chunks))


class NoNetwork:
    """A policy that answers at once with where the robot is."""

    stages = InferenceStages()

    def __init__(self, contract: Contract) -> None:
        self.cameras = tuple(contract.cameras)
        self.spec = SimpleNamespace(
            step_ns=100_000_000,
            slots=contract.slots,
            absolute_slots=("left_gripper", "right_gripper"),
            max_delay_steps=0,
        )

    def infer(self, images: Any, state: np.ndarray, instruction: str, *_: Any, **__: Any) -> np.ndarray:
        return np.tile(state, (16, 1))


def encoded(contract: Contract) -> dict[str, list[bytes]]:
    """FRAMES serialised messages a topic, stamped 0. The images are soft shapes with a sensor's noise."""
    messages, rng = BagMessages(), np.random.default_rng(0)
    found: dict[str, list[bytes]] = {}
    for camera in contract.cameras.values():
        scene = cv2.resize(rng.uniform(40, 215, (24, 32, 3)), (camera.width, camera.height))
        images = (scene + rng.normal(0, 4, scene.shape) for _ in range(FRAMES))
        found[camera.topic] = [
            messages.serialize(
                encode_image(camera, image.clip(0, 255).astype(np.uint8), 0, messages, QUALITY), camera.type
            )
            for image in images
        ]
    home = load_robot(contract.robot).home
    for entry in (*contract.state, *contract.commands):
        postures = (home + 0.001 * number for number in range(FRAMES))
        found[entry.topic] = [
            messages.serialize(encode_slots(entry, slots, 0, messages), entry.type) for slots in postures
        ]
    return found


def cpu_share(pid: int, seconds: float) -> float:
    """Of one core, over so long from now."""

    def spent_s() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = spent_s()
    time.sleep(seconds)
    return (spent_s() - before) / seconds


@contextmanager
def beside(target: Callable[..., None], *arguments: Any) -> Iterator[Any]:
    """A function in a process of its own, for as long as the block lasts."""
    child = multiprocessing.get_context("spawn").Process(target=target, args=arguments, daemon=True)
    child.start()
    try:
        yield child
    finally:
        child.kill()
        child.join()


@contextmanager
def client() -> Iterator[Callable[[str], None]]:
    """Calls ~/start and ~/stop of the recorder, until it does what is asked; exits with its refusal otherwise."""
    import rclpy
    from std_srvs.srv import SetBool, Trigger

    rclpy.init()
    node = rclpy.create_node("benchmark")

    def call(word: str) -> None:
        kind = SetBool if word == "stop" else Trigger
        service = node.create_client(kind, f"/recorder/{word}")
        service.wait_for_service(timeout_sec=PATIENCE_S)
        until = time.monotonic() + PATIENCE_S
        while True:
            future = service.call_async(kind.Request())
            rclpy.spin_until_future_complete(node, future, timeout_sec=PATIENCE_S)
            answer = future.result()
            if answer and answer.success:
                return
            if time.monotonic() > until:
                sys.exit(f"/recorder/{word}: {answer.message if answer else 'no answer'}")
            time.sleep(0.5)

    try:
        yield call
    finally:
        node.destroy_node()
        rclpy.shutdown()


if __name__ == "__main__":
    main()
