"""A policy that fails, or one of its cameras: the heartbeat says so, the controller holds at once until it is told."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from activemimic_description.stack_topics import HEARTBEAT
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState

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


def fails(
    scene: LookingScene, name: str, fault: Callable[[], object], mend: Callable[[], object], within_s: float, words: str
) -> None:
    """The policy names the camera in its heartbeat, the controller in its reason for holding."""
    try:
        injected(scene, name, fault, within_s, f"the policy does not infer: {words}")
        told = [beat.message for _, beat in scene.heartbeats if beat.level == DiagnosticStatus.ERROR]
        assert any(words in message for message in told), told[-3:]
    finally:
        mend()
    goes_on_by_word(scene)


def test_a_camera_that_stops(scene: LookingScene) -> None:
    stopped = scene.robot.stopped_topics
    fails(scene, "camera stops", lambda: stopped.add(HEAD), stopped.clear, 1.0, f"camera head ({HEAD})")


def test_a_camera_that_repeats_one_frame(scene: LookingScene) -> None:
    frozen = scene.robot.frozen_topics
    fails(scene, "camera repeats one frame", lambda: frozen.add(WRIST), frozen.clear, 1.5, "camera right_wrist")


def test_a_camera_that_sends_another_size(scene: LookingScene) -> None:
    resized = scene.robot.resized_topics
    words = f"camera head ({HEAD}): expected 224x224"
    fails(scene, "camera sends another size", lambda: resized.add(HEAD), resized.clear, 1.0, words)


def test_a_policy_that_is_killed(scene: LookingScene) -> None:
    injected(scene, "policy killed (SIGKILL)", scene.policy.kill, 1.0, "no heartbeat for 0.3")
    scene.policy = scene.start_policy()
    goes_on_by_word(scene)


def test_a_policy_that_is_frozen(scene: LookingScene) -> None:
    stop = lambda: scene.policy.signal(signal.SIGSTOP)  # noqa: E731
    try:
        injected(scene, "policy frozen (SIGSTOP)", stop, 1.0, "no heartbeat for 0.3")
    finally:
        scene.policy.signal(signal.SIGCONT)
    goes_on_by_word(scene)


def test_a_policy_that_is_deactivated(scene: LookingScene) -> None:
    def tell(transition: str) -> None:
        assert scene.world.call(ChangeState, "/policy/change_state", transition=Transition(label=transition)).success

    injected(scene, "policy deactivated", lambda: tell("deactivate"), 2.0, "the policy does not infer: inactive")
    tell("activate")
    goes_on_by_word(scene)
