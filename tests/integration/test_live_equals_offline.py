"""What the policy node sees of a robot is what training sees of its recording.

A recorded episode is published again, bytes and stamps as they were, to the real node. It looks at the newest common
stamp, the dataset at a tick 5 ms later: they are compared where both have chosen the same messages.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from activemimic_bringup.nodes.node import qos_profile
from activemimic_bringup.nodes.policy_node import PolicyNode
from activemimic_data.bags import EpisodeReader
from activemimic_data.bags.reader import RawMessage
from activemimic_data.dataset import Dataset, build_dataset
from activemimic_data.dataset.align import Row, aligned_rows
from activemimic_description.codec import stamp_ns
from activemimic_description.contract import load_contract
from activemimic_description.messages import RosMessages, ros_class, stamp
from activemimic_description.stack_topics import CHUNK
from activemimic_policy.checkpoint import load_checkpoint
from activemimic_policy.inference import Policy
from activemimic_policy.transforms import Array, Sample, apply, input_steps, stack_cameras
from activemimic_rollout.synchronous.demonstrations import DemonstrationPlan, generate
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from trajectory_msgs.msg import JointTrajectory

from .checkpoints import untrained_checkpoint
from .conftest import World, wait_until

FPS = 10
ROWS = 8
CLEAR_OF_STAMPS_NS = 5_000_000
# How far the dataset's video may be from the JPEG that the node decodes, in levels of 0 to 255.
MOST_MEAN, MOST_P99 = 2.0, 8.0  # measured: 1.2 and 5.0


@dataclass(frozen=True)
class Seen:
    """What a policy was given at `stamp_ns`."""

    stamp_ns: int
    images: dict[str, np.ndarray]
    state: np.ndarray


class Witness:
    """A policy that keeps what it is given."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.spec = policy.spec
        self.given: list[tuple[dict[str, np.ndarray], np.ndarray]] = []

    @property
    def stages(self) -> Any:
        return self._policy.stages

    def infer(self, images: Any, state: np.ndarray, *args: Any, **options: Any) -> np.ndarray:
        chunk = self._policy.infer(images, state, *args, **options)
        self.given.append(({name: image.copy() for name, image in images.items()}, state.copy()))
        return chunk


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = DemonstrationPlan("reaching", camera_hz=FPS, late_starts=0.0, action_noise=0.0)
    return generate(plan, tmp_path_factory.mktemp("bags"), [0], workers=1)[0].folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_checkpoint(tmp_path_factory.mktemp("live") / "checkpoint", load_contract("g1_sim"))


@pytest.fixture(scope="module")
def live(world: World, bag: Path, checkpoint: Path) -> list[Seen]:
    """What the node's policy was given at the episode's first images."""
    parameters = ["--ros-args", "-p", f"checkpoint:={checkpoint}", "-p", "use_sim_time:=true"]
    rclpy.init(args=parameters, domain_id=world.domain, signal_handler_options=SignalHandlerOptions.NO)
    node = PolicyNode()
    witness = node._runner.policy = Witness(node._runner.policy)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinning = threading.Thread(target=_spin, args=(executor,), daemon=True)
    spinning.start()
    try:
        stamps = _publish_again(world, EpisodeReader(bag), witness)
    finally:
        node.close()
        rclpy.shutdown()
        spinning.join(timeout=5.0)
    return [Seen(at, *given) for at, given in zip(stamps, witness.given, strict=True)]


def _spin(executor: SingleThreadedExecutor) -> None:
    with suppress(ExternalShutdownException):
        executor.spin()


def _publish_again(world: World, reader: EpisodeReader, witness: Witness) -> list[int]:
    """Publish the episode up to ROWS images, waiting for the policy after each; returns the chunks' stamps in ns."""
    contract, messages = reader.contract, RosMessages()
    entries = {entry.topic: entry for entry in (*contract.state, *contract.cameras.values())}
    publishers = {
        topic: world.node.create_publisher(ros_class(entry.type), topic, qos_profile(entry.qos))
        for topic, entry in entries.items()
    }
    clock = world.node.create_publisher(ros_class("rosgraph_msgs/msg/Clock"), "/clock", 10)
    stamps: list[int] = []
    world.node.create_subscription(JointTrajectory, CHUNK.name, lambda chunk: stamps.append(stamp_ns(chunk)), 10)
    wait_until(lambda: all(p.get_subscription_count() for p in (*publishers.values(), clock)), "subscriptions")
    wait_until(lambda: world.node.count_publishers(CHUNK.name) > 0, "the node's publisher")
    raw = groupby(reader.raw_messages(entries), key=lambda message: message.log_time_ns)
    images = {camera.topic for camera in contract.cameras.values()}
    for at_ns, group in raw:
        together = list(group)
        now = messages.make("rosgraph_msgs/msg/Clock", clock=stamp(at_ns + CLEAR_OF_STAMPS_NS))
        wanted = len(stamps) + 1

        def publish_all(now: Any = now, together: list[RawMessage] = together) -> None:
            clock.publish(now)
            for message in together:
                publishers[message.topic].publish(message.data)

        publish_all()
        if images & {message.topic for message in together}:
            _again_until(lambda count=wanted: len(stamps) >= count, publish_all, f"the chunk for {at_ns}")
            if wanted == ROWS:
                break
    return stamps


def _again_until(there: Callable[[], bool], publish_all: Callable[[], None], what: str) -> None:
    """A reader that has just been found may miss what is not sent reliably; the same bytes and stamps come again."""
    again_at = time.monotonic() + 1.0

    def checked() -> bool:
        nonlocal again_at
        if not there() and time.monotonic() > again_at:
            publish_all()
            again_at = time.monotonic() + 1.0
        return there()

    wait_until(checked, what)


@pytest.fixture(scope="module")
def offline(bag: Path) -> dict[int, Row]:
    """The rows of the same episode, by the stamp of the messages that they chose."""
    found = list(aligned_rows(EpisodeReader(bag), FPS))
    rows = {row.observation.stamp_ns - CLEAR_OF_STAMPS_NS: row for row in found if isinstance(row, Row)}
    assert len(rows) == len(found)  # no gaps
    assert all(set(row.observation.ages_ns.values()) == {CLEAR_OF_STAMPS_NS} for row in rows.values())
    return rows


def test_the_live_policy_is_given_the_rows_of_the_recording_to_the_bit(
    live: list[Seen], offline: dict[int, Row], checkpoint: Path
) -> None:
    assert [seen.stamp_ns for seen in live] == list(offline)[:ROWS]
    for seen in live:
        row = offline[seen.stamp_ns].observation
        np.testing.assert_array_equal(seen.state, row.state)
        assert seen.images.keys() == row.images.keys()
        for camera, image in seen.images.items():
            np.testing.assert_array_equal(image, row.images[camera], err_msg=camera)
        for live_tensor, row_tensor in zip(
            tensors(checkpoint, seen.images, seen.state), tensors(checkpoint, row.images, row.state), strict=True
        ):
            np.testing.assert_array_equal(live_tensor, row_tensor)


def test_the_datasets_rows_differ_by_float32_and_by_the_videos_codec_alone(
    live: list[Seen], bag: Path, checkpoint: Path, tmp_path: Path
) -> None:
    dataset = Dataset(build_dataset([bag], tmp_path / "ds", FPS, workers=1).root)
    stamps = dataset.column("observation_stamp_ns") - CLEAR_OF_STAMPS_NS
    streams = [dataset.frames(camera, 0) for camera in dataset.cameras]
    distances = []
    for row, (seen, shown) in enumerate(zip(live, zip(*streams, strict=True), strict=False)):
        assert stamps[row] == seen.stamp_ns
        np.testing.assert_array_equal(dataset.state[row], seen.state.astype(np.float32))
        stored = dict(zip(dataset.cameras, shown, strict=True))
        images, state = tensors(checkpoint, seen.images, seen.state)
        stored_images, stored_state = tensors(checkpoint, stored, dataset.state[row].astype(np.float64))
        np.testing.assert_allclose(stored_state, state, atol=1e-6)
        distances.append(np.abs(stored_images - images) * 127.5)  # tensors go from -1 to 1
    levels = np.array(distances)
    told = f"mean {levels.mean():.2f}, 99 % {np.percentile(levels, 99):.1f}, most {levels.max():.0f} levels of 255"
    print(told)
    assert levels.any(), "the codec is not lossless; is the dataset's video what was compared?"
    assert levels.mean() < MOST_MEAN, told
    assert np.percentile(levels, 99) < MOST_P99, told


def tensors(checkpoint: Path, images: dict[str, np.ndarray], state: np.ndarray) -> tuple[Array, Array]:
    """What the network would be given: images (C, px, px, 3) in -1 to 1, and the state, normalised and padded."""
    loaded = load_checkpoint(checkpoint)
    steps = input_steps(loaded.spec, loaded.normalization, loaded.model.image_px, loaded.model.action_width)
    sample = apply(steps, Sample(images, state))
    return stack_cameras(sample, loaded.spec.cameras), sample.state
