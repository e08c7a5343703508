"""Policy, controller and a fake robot: what each stage took, and what `activemimic top` shows of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from activemimic_description.contract import load_contract
from activemimic_description.latency_stages import OF_CONTROLLER, OF_POLICY, STAGES, ChunkStages
from diagnostic_msgs.msg import DiagnosticStatus
from std_srvs.srv import Trigger

from .checkpoints import untrained_checkpoint
from .conftest import World, wait_until
from .fake_robot import FakeRobot

CONTRACT = load_contract("g1_sim")


class Scene:
    """The robot runs on the chunks of an untrained policy."""

    def __init__(self, world: World, checkpoint: Path) -> None:
        self.world = world
        self.robot = FakeRobot(world.node, CONTRACT)
        self.inferences: list[dict[str, str]] = []
        self.timings: list[dict[str, str]] = []
        for topic, seen in (("inference", self.inferences), ("timing", self.timings)):
            world.node.create_subscription(DiagnosticStatus, f"/activemimic/{topic}", _into(seen), 100)
        world.start("policy", checkpoint=str(checkpoint))
        world.start("controller", start_running=True)

    def wait_for_chunks(self, count: int) -> None:
        """Until so many came all the way. On a machine that stalls the robot holds; the operator says run again."""

        def came() -> bool:
            if self.robot.report("controller")[1].get("mode") == "holding":
                self.world.call(Trigger, "/controller/run")
                self.robot.diagnostics.pop("controller")  # the next one tells what came of it
            return self.stages().total().count >= count

        def found() -> str:
            heard = f"; {len(self.inferences)} inferences and the times of {len(self.timings)} chunks came"
            return "\n".join([heard, str(self.robot.diagnostics), *(process.text for process in self.world.processes)])

        wait_until(came, f"{count} chunks that came all the way", found=found)

    def stages(self) -> ChunkStages:
        stages = ChunkStages()
        for values in [*self.inferences, *self.timings]:
            stages.add(values)
        return stages


def _into(seen: list[dict[str, str]]) -> Callable[[DiagnosticStatus], None]:
    return lambda message: seen.append({entry.key: entry.value for entry in message.values})


@pytest.fixture(scope="module")
def scene(world: World, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("watching") / "checkpoint"
    return Scene(world, untrained_checkpoint(folder, CONTRACT, gentle=True))


def test_every_stage_of_a_chunk_is_told_and_plausible(scene: Scene) -> None:
    scene.wait_for_chunks(5)
    for stage in (*OF_POLICY,):
        assert f"{stage}_ms" in scene.inferences[-1]
    for stage in (*OF_CONTROLLER,):
        assert f"{stage}_ms" in scene.timings[-1]
    p50_ms = {summary.stage: summary.p50_ms for summary in scene.stages().summary()}
    assert set(p50_ms) == set(STAGES)
    assert all(ms >= 0 for ms in p50_ms.values()), p50_ms
    assert all(ms > 0.5 for stage, ms in p50_ms.items() if stage in ("preprocess", "prefix", "denoise")), p50_ms
    assert p50_ms["first_command"] <= 15  # the controller's period is 10 ms
    assert p50_ms["motion"] <= 100  # the fake robot is there at once, and tells it 30 times a second
    assert sum(p50_ms.values()) < 1000


def test_the_stages_add_up_to_the_age_with_which_the_chunk_arrived(scene: Scene) -> None:
    scene.wait_for_chunks(1)
    ages_ms = {values["stamp"]: float(values["chunk_age_ms"]) for values in scene.timings}
    for values in scene.inferences:
        if values["stamp"] in ages_ms:
            network_ms = sum(float(values[f"{stage}_ms"]) for stage in ("preprocess", "prefix", "denoise"))
            # Inference is all of these but the decoding of the images.
            assert network_ms == pytest.approx(float(values["inference_ms"]), rel=0.5)
            handed_over_ms = sum(float(values[f"{stage}_ms"]) for stage in OF_POLICY)
            assert handed_over_ms <= ages_ms[values["stamp"]] + 1.0


def test_cameras_and_states_are_reported_with_rate_lag_and_drops(scene: Scene) -> None:
    for node, source in (("policy", "head"), ("controller", "/joint_states")):  # a rate is 0 until enough has come
        wait_until(
            lambda node=node, source=source: float(scene.robot.report(node)[1].get(f"{source}_rate_hz", 0)) > 0,
            f"the {node}'s report of {source}",
        )
    policy, controller = scene.robot.report("policy")[1], scene.robot.report("controller")[1]
    for camera in CONTRACT.cameras:
        assert 15 < float(policy[f"{camera}_rate_hz"]) < 40
        assert 0 <= float(policy[f"{camera}_lag_ms"]) < 200
        assert f"{camera}_drops" in policy
        assert f"{camera}_lag_ms" in scene.inferences[-1]
    assert 15 < float(controller["/joint_states_rate_hz"]) < 40


def test_drops_are_counted_while_a_camera_pauses(scene: Scene) -> None:
    wait_until(lambda: "left_wrist_drops" in scene.robot.report("policy")[1], "a first report")
    before = int(scene.robot.report("policy")[1]["left_wrist_drops"])
    topic = CONTRACT.cameras["left_wrist"].topic
    received = len(scene.inferences)
    scene.robot.stopped_topics.add(topic)
    try:
        wait_until(lambda: "left_wrist" in scene.robot.report("policy")[0], "the camera to be missed")
    finally:
        scene.robot.stopped_topics.clear()
    wait_until(lambda: len(scene.inferences) > received + 2, "chunks again")
    wait_until(lambda: int(scene.robot.report("policy")[1]["left_wrist_drops"]) > before + 5, "the drops")


def top_once(domain: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "activemimic_bringup.cli.main", "top", "--once"],
        env={**os.environ, "ROS_DOMAIN_ID": str(domain), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_top_shows_the_mode_of_the_controller_and_the_stages(scene: Scene) -> None:
    result = top_once(scene.world.domain)
    assert result.returncode == 0, result.stderr
    mode = scene.robot.report("controller")[1]["mode"]
    assert " ".join(mode.upper()) in result.stdout
    for words in ("policy chunks", "/joint_states", "head", "deadlines", *STAGES.values()):
        assert words in result.stdout
    assert "Stages of the last 0 chunks" not in result.stdout
    assert scene.world.call(Trigger, "/controller/stop").success
    assert "S T O P P E D" in top_once(scene.world.domain).stdout


def test_top_ends_with_1_where_no_controller_is(scene: Scene) -> None:
    result = top_once(101)  # that of no test
    assert result.returncode == 1
    assert "NO CONTROLLER" in result.stdout
