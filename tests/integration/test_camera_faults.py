"""A camera that fails: the policy says which and falls silent, the controller brakes and holds until it is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from activemimic_bringup.nodes.topics import HEARTBEAT
from diagnostic_msgs.msg import DiagnosticStatus

from .checkpoints import untrained_checkpoint
from .conftest import Process, World
from .fault_scene import CONTRACT, Scene, goes_on_by_word, injected

HEAD = CONTRACT.cameras["head"].topic
WRIST = CONTRACT.cameras["right_wrist"].topic


class LookingScene(Scene):
    """The robot does what the policy node says, from an untrained checkpoint: it wanders about where it is.

    Its cameras have noise, as real ones do.
    """

    def __init__(self, world: World, folder: Path) -> None:
        self._checkpoint = untrained_checkpoint(folder / "checkpoint", CONTRACT, gentle=True)
        self._contract = folder / "noisy.yaml"
        limit = "max_age_ms: 200"
        self._contract.write_text(
            CONTRACT.text.replace(limit, f"{limit}\n    sensor_noise: true", len(CONTRACT.cameras))
        )
        self.heartbeats: list[tuple[float, DiagnosticStatus]] = []
        world.node.create_subscription(DiagnosticStatus, HEARTBEAT.name, self._on_heartbeat, 10)
        super().__init__(world)

    def start_policy(self) -> Process:
        return self.world.start("policy", checkpoint=str(self._checkpoint), contract=str(self._contract))

    def _on_heartbeat(self, message: DiagnosticStatus) -> None:
        self.heartbeats.append((time.monotonic(), message))


@pytest.fixture(scope="module")
def scene(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LookingScene]:
    scene = LookingScene(world, tmp_path_factory.mktemp("policy"))
    yield scene
    scene.close()


def fails(scene: LookingScene, name: str, fault: Callable[[], object], mend: Callable[[], object], words: str) -> None:
    """The policy falls silent and names the camera; a chunk lasts 1.6 s, its absence is a fault 0.5 s later."""
    before = len(scene.policy.lines)
    try:
        injected(scene, name, fault, 4.0, "the policy has been silent")
        said = [line for line in scene.policy.lines[before:] if "nothing is published" in line]
        assert any(words in line for line in said), scene.policy.text
        told = [beat.message for _, beat in scene.heartbeats if beat.level == DiagnosticStatus.ERROR]
        assert any(words in message for message in told), told[-3:]
        scene.rows[-1] = scene.rows[-1]._replace(said=f"{scene.rows[-1].said}; policy: {said[0].partition(': ')[2]}")
    finally:
        mend()
    goes_on_by_word(scene)


def test_a_camera_that_stops(scene: LookingScene) -> None:
    stopped = scene.robot.stopped_topics
    fails(scene, "camera stops", lambda: stopped.add(HEAD), stopped.clear, f"camera head ({HEAD})")


def test_a_camera_that_repeats_one_frame(scene: LookingScene) -> None:
    frozen = scene.robot.frozen_topics
    fails(scene, "camera repeats one frame", lambda: frozen.add(WRIST), frozen.clear, "camera right_wrist")


def test_a_camera_that_sends_another_size(scene: LookingScene) -> None:
    resized = scene.robot.resized_topics
    fails(scene, "camera sends another size", lambda: resized.add(HEAD), resized.clear, "expected 224x224")
