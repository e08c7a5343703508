"""ROS shell of `PolicyRunner`: cameras and state in, chunks out, inferred in a thread of their own."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from activemimic_description.chunk_fields import write_trajectory
from activemimic_description.common.errors import explanation
from activemimic_description.common.scheduling import favour, favour_no_more
from activemimic_description.contract import load_contract
from activemimic_description.liveness import BEAT_S
from activemimic_description.messages import RosMessages, ros_class
from activemimic_description.stack_topics import CHUNK, HEARTBEAT, INFERENCE
from activemimic_policy.checked_policy import (
    CheckpointPlaceError,
    check_place,
    checkpoint_folder,
    checkpoint_roots,
    load_checked_policy,
)
from activemimic_policy.rtc import RtcError
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.clock import Clock, ClockType
from trajectory_msgs.msg import JointTrajectory

from activemimic_bringup.launching.parameters import POLICY, names
from activemimic_bringup.nodes.managed import ManagedNode
from activemimic_bringup.nodes.node import (
    ERROR,
    OK,
    WARN,
    ConfigurationError,
    Diagnostics,
    declare,
    diagnostic,
    qos_profile,
    run,
)

if TYPE_CHECKING:
    from activemimic_policy.policy_runner import Inference, PolicyRunner

PATIENCE_S = 1.0  # after the start, before a missing camera is worth a warning
# Below the controller and the simulator. Inference too: a thread that the system puts aside while it holds Python's
# lock keeps the heart from beating. Loading a checkpoint is ordinary work.
LISTENING, INFERRING, NICENESS = 10, 5, -5
RETRY_S = 0.02  # between looks for an observation when there was none


class Loaded(NamedTuple):
    """A checkpoint ready to be used: what infers from it, what that is told, and how long one inference took."""

    checkpoint: str
    runner: PolicyRunner
    instruction: str
    warm_ms: float


class PolicyNode(ManagedNode):
    """Publishes a chunk every replan period, or nothing and the reason in the heartbeat, /diagnostics and the log."""

    def __init__(self) -> None:
        favour(NICENESS, LISTENING)  # with this thread those of DDS, which it starts
        super().__init__("policy")
        self._values = values = declare(self, POLICY, self._on_set)
        self._roots = checkpoint_roots(values["checkpoint_roots"], values["checkpoint"])
        self._contract = load_contract(values["contract"])
        self._messages = RosMessages()
        self.exit_code = 0
        self.finished = False
        self._runner: PolicyRunner | None = None  # there is one from configured to cleaned up
        self._active = False
        self._inferred = False  # since it was activated
        self._next: Loaded | None = None  # to be used from the next inference on
        self._loading: threading.Thread | None = None
        self._load_error = ""
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._chunks = self.create_lifecycle_publisher(JointTrajectory, CHUNK.name, 10)
        self._inferences = self.create_publisher(DiagnosticStatus, INFERENCE.name, 10)
        self._heartbeats = self.create_publisher(DiagnosticStatus, HEARTBEAT.name, 10)
        self._diagnostics = Diagnostics(self)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(BEAT_S, self._beat, clock=steady)
        self.create_timer(1.0, self._report, clock=steady)
        self.start(values["start"])
        self.get_logger().info(f"ready: {self.state_label}")

    def configure(self) -> None:
        """Load the checkpoint, time one inference, and listen to the cameras and joint states."""
        checkpoint, instruction = (self.get_parameter(name).value for name in ("checkpoint", "instruction"))
        if not checkpoint:
            raise ConfigurationError("parameter checkpoint: give the folder of a checkpoint (checkpoint:=…)")
        favour_no_more()
        try:
            loaded = self._loaded(checkpoint, instruction)
        finally:
            favour(NICENESS, LISTENING)
        self._use(loaded)
        self._next = None  # what began to be loaded before a cleanup is not wanted any more
        self._listeners = [
            self._subscribe(source.topic, source.type, source.qos)
            for source in (*self._contract.cameras.values(), *self._contract.state)
        ]
        self._stopping.clear()
        self._thread = threading.Thread(target=self._infer_until_stopped, name="inference", daemon=True)
        self._thread.start()
        self.get_logger().info(
            f"{checkpoint}: {len(self._spec.cameras)} cameras, {loaded.warm_ms:.0f} ms per inference, a chunk of "
            f"{self._spec.horizon} steps every {self._period_s:.2f} s, instruction: {self._instruction!r}"
        )

    def activate(self) -> None:
        """Infer, from observations newer than now."""
        assert self._runner is not None
        self._runner.restart(self._now_ns())
        self._patient_until_s = time.monotonic() + PATIENCE_S
        self._inferred = False
        self._active = True
        self._wake.set()

    def deactivate(self) -> None:
        """Rest; the checkpoint stays loaded."""
        self._active = False

    def cleanup(self) -> None:
        """Let go of the checkpoint."""
        self.close()
        for listener in self._listeners:
            self.destroy_subscription(listener)
        self._runner = self._next = None

    def close(self) -> None:
        """End the inference thread."""
        self._active = False
        self._stopping.set()
        self._wake.set()
        if self._runner is not None:
            self._thread.join(timeout=5.0)

    def _loaded(self, checkpoint: str, instruction: str) -> Loaded:
        """A checkpoint ready to be used.

        Raises ConfigurationError and whatever `load_checked_policy` does.
        """
        from activemimic_policy.policy_runner import PolicyRunner  # seconds of torch, once the rest is known good

        values = self._values
        policy = load_checked_policy(
            checkpoint,
            self._contract,
            values["device"],
            values["threads"],
            values["runtime"],
            values["precision"],
            names(values["ablated_cameras"]),
        )
        told = self._checked_instruction(instruction, policy.spec.instructions)
        try:
            runner = PolicyRunner(policy, self._contract, values["max_observation_age_s"], values["rtc_mode"])
        except RtcError as error:
            raise ConfigurationError(f"parameter {error}") from None
        if runner.rtc.guided and values["runtime"] != "eager":
            raise ConfigurationError("parameter rtc_mode: rtc_guided takes gradients and needs runtime:=eager")
        return Loaded(checkpoint, runner, told, policy.warm_up())

    def _use(self, loaded: Loaded) -> None:
        self._checkpoint, self._runner, self._instruction = loaded.checkpoint, loaded.runner, loaded.instruction
        self._spec = self._runner.policy.spec
        self._period_s = self._values["inference_period_s"] or self._spec.execution_horizon / self._spec.fps

    def _subscribe(self, topic: str, type_name: str, qos: Any) -> Any:
        def on_message(message: Any) -> None:
            for runner in self._runners():
                runner.add(topic, message, self._now_ns())

        return self.create_subscription(ros_class(type_name), topic, on_message, qos_profile(qos))

    def _runners(self) -> list[PolicyRunner]:
        """The one that infers, and the one that will as soon as it has seen enough."""
        following = self._next
        return [r for r in (self._runner, following.runner if following else None) if r is not None]

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _infer_until_stopped(self) -> None:
        favour(NICENESS, INFERRING)
        try:
            while not self._stopping.is_set():
                self._change_checkpoint()
                started_s = time.monotonic()
                inference = self._infer_once(self._now_ns()) if self._active else None
                spent_s = time.monotonic() - started_s
                self._wake.wait(self._period_s - spent_s if inference else RETRY_S)
                self._wake.clear()
        except Exception:
            self.get_logger().fatal(f"inference failed:\n{traceback.format_exc()}")
            self.exit_code = 1
            self.finished = True

    def _change_checkpoint(self) -> None:
        """Use the one that was loaded; while it infers, not before the new one has seen what it needs."""
        following = self._next
        if following is None:
            return
        if self._active and (problem := following.runner.problem):
            self.get_logger().info(f"{following.checkpoint} waits: {problem}", throttle_duration_sec=5.0)
            return
        self._use(following)
        self._next = None
        self.get_logger().info(f"{self._checkpoint} infers from now on, instruction: {self._instruction!r}")

    def _infer_once(self, now_ns: int) -> Inference | None:
        runner = self._runner
        assert runner is not None
        was_refused = bool(runner.refusal)
        inference = runner.infer(self._instruction, now_ns)
        if inference is None:
            if runner.refusal and time.monotonic() > self._patient_until_s:
                why = runner.refusal
                self.get_logger().warning(f"nothing is published: {why}", throttle_duration_sec=5.0)
            return None
        self._inferred = True
        message = write_trajectory(inference.chunk, self._contract.slots, self._messages)
        sent_ns = self._now_ns()
        self._chunks.publish(message)
        runner.sent(inference.chunk, sent_ns)
        lags_ms = {f"{name}_lag_ms": runner.streams[name].lag_ms for name in self._contract.cameras}
        self._inferences.publish(_inference_status(inference, sent_ns, lags_ms))
        if was_refused:
            self.get_logger().info("all cameras and joint states are there: chunks are published")
        return inference

    def _on_set(self, values: dict[str, Any]) -> str:
        """While there is no checkpoint yet, what is set counts from `configure` on."""
        try:
            if "checkpoint" in values:
                check_place(values["checkpoint"], self._roots)
            if self._runner is not None:
                if "instruction" in values:
                    self._instruction = self._checked_instruction(values["instruction"], self._spec.instructions)
                if "checkpoint" in values:
                    self._begin_to_load(values["checkpoint"])
        except (ConfigurationError, CheckpointPlaceError) as error:
            return str(error)
        return ""

    def _begin_to_load(self, checkpoint: str) -> None:
        """Load another checkpoint beside the one that infers; what is wrong with it is said once it is known."""
        if self._loading is not None and self._loading.is_alive():
            raise ConfigurationError("parameter checkpoint: another one is being loaded; wait for it")
        if not (checkpoint_folder(checkpoint) / "config.json").is_file():
            raise ConfigurationError(f"parameter checkpoint: {checkpoint}: expected a checkpoint's folder, found none")
        self._loading = threading.Thread(target=self._load, args=(checkpoint,), name="loading", daemon=True)
        self._loading.start()

    def _load(self, checkpoint: str) -> None:
        favour_no_more()
        self._load_error = ""
        try:
            self._next = self._loaded(checkpoint, self._instruction)
        except Exception as error:
            self._load_error = explanation(error) or traceback.format_exc()
            self.get_logger().error(f"{self._checkpoint} goes on: {self._load_error}")

    def _checked_instruction(self, instruction: str, known: Sequence[str]) -> str:
        if instruction:
            if known and instruction not in known:
                self.get_logger().warning(f"the checkpoint was not trained on the instruction {instruction!r}")
            return instruction
        if len(known) != 1:
            raise ConfigurationError(f"parameter instruction: give one; the checkpoint knows {list(known)}")
        return str(known[0])

    def _beat(self) -> None:
        """Say whether it can infer, from a look at what has arrived rather than at the last inference."""
        problems = [runner.beat(time.monotonic_ns()) for runner in self._runners()]
        if not self._active:
            level, message = WARN, self.state_label
        elif problems[0]:
            level, message = ERROR, problems[0]
        elif not self._inferred:
            level, message = ERROR, "nothing has been inferred since it was activated"
        else:
            level, message = OK, "it can infer"
        values = {
            "state": self.state_label,
            "stamp": self._now_ns(),
            "chunk_period_s": self._period_s if self._runner else 0.0,
            "inferring_s": self._runner.inferring_s if self._runner else 0.0,
        }
        self._heartbeats.publish(diagnostic("policy", level, message, values))

    def _report(self) -> None:
        runner = self._runner
        if runner is None:
            self._diagnostics.publish(OK, self.state_label, {"state": self.state_label})
            return
        times_ms = np.array(runner.inference_ms) if runner.inference_ms else np.zeros(1)
        values = {
            "state": self.state_label,
            "inference_ms": float(times_ms[-1]),
            "inference_p50_ms": float(np.percentile(times_ms, 50)),
            "inference_p99_ms": float(np.percentile(times_ms, 99)),
            "observation_age_ms": runner.observation_age_ms,
            "chunks": runner.chunks,
            "refusals": runner.refusals,
            "refusal": runner.refusal,
            "checkpoint": self._checkpoint,
            "load_error": self._load_error,
            "instruction": self._instruction,
            "rtc_mode": runner.rtc.rtc_mode,
            "delay_steps": runner.rtc.delay_steps,
            **{f"join_{kind}": count for kind, count in runner.rtc.counters.items()},
        }
        for name, stream in runner.streams.items():
            values |= {
                f"{name}_rate_hz": stream.rate_hz,
                f"{name}_lag_ms": stream.lag_ms,
                f"{name}_drops": stream.drops,
            }
        if not self._active:
            self._diagnostics.publish(OK, self.state_label, values)
        elif runner.refusal:
            self._diagnostics.publish(WARN, f"nothing is published: {runner.refusal}", values)
        else:
            self._diagnostics.publish(OK, "publishing chunks", values)


def _inference_status(inference: Inference, sent_ns: int, lags_ms: dict[str, float]) -> DiagnosticStatus:
    age_ms = (sent_ns - inference.chunk.stamp_ns) / 1e6
    values = {
        "inference_ms": inference.inference_ms,
        "observation_age_ms": inference.observation_age_ms,
        "stamp": inference.chunk.stamp_ns,
        **inference.stages_ms,
        # What remains, so that the stages add up to the age at which the chunk was handed over.
        "postprocess_ms": age_ms - sum(inference.stages_ms.values()),
        **lags_ms,
    }
    return diagnostic("policy", OK, "inference", values)


def main() -> None:
    run(PolicyNode)


if __name__ == "__main__":
    main()
