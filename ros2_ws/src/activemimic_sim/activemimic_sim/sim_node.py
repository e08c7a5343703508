"""ROS shell of the simulation: speaks the contract's topics as the robot would, in real time."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Collection
from typing import Any

import numpy as np
import rclpy
from activemimic_description.codec import CodecError, decode_slots, encode_image, encode_slots, stamp_ns
from activemimic_description.common.lifetime import end_with_launcher, ending_signals
from activemimic_description.common.scheduling import claim_priority, favoured
from activemimic_description.contract import ContractError, JointSink, Qos, load_contract
from activemimic_description.messages import RosMessages, ros_class
from activemimic_description.robot import load_robot
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import IntegerRange, ParameterDescriptor, ParameterType, SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from activemimic_sim.experts import Expert, make_expert
from activemimic_sim.experts.expert import STEP_S
from activemimic_sim.tasks import TASKS, SceneError, make_task
from activemimic_sim.world.background import BackgroundCameras
from activemimic_sim.world.pacing import PacedSimulation
from activemimic_sim.world.perturbations import PERTURBATIONS, make_perturbations
from activemimic_sim.world.rendering import RenderingError
from activemimic_sim.world.simulation import Simulation

_MAX_SEED = 2**31 - 1
_PRIORITY = 20  # SCHED_FIFO, below the controller's: motion and state come before images
_NICENESS = -10  # where that is not granted
_MOVED = 0.05  # rad, m: a slot that is so far from where the scene began has been moved by somebody


class SimNode(Node):
    """Publishes state and cameras at the contract's rate, obeys its commands, and reports the task on ~/task.

    Images are drawn in a thread of their own: where that is slow there are fewer of them, and the robot keeps its pace.

    Services: ~/reset (Trigger; places everything for the parameters `task`, `seed`, `cell` and `perturbations`),
    ~/expert (SetBool; the task's expert teleoperates through /activemimic/teleop, from wherever the robot is by then).
    """

    def __init__(self) -> None:
        with favoured(_NICENESS, _PRIORITY):
            super().__init__("sim")
        contract = self._declare("contract", "g1_sim", "Robot contract: a shipped name or the path of a YAML file.")
        task = self._declare("task", "reaching", f"Task of the next reset: {', '.join(TASKS)}.")
        seed = self._declare("seed", 0, "Seed of the next reset.", IntegerRange(from_value=0, to_value=_MAX_SEED))
        any_cell = IntegerRange(from_value=-1, to_value=_MAX_SEED)
        self._declare("cell", -1, "Cell of the task's trial plan in which the next reset places; -1: drawn.", any_cell)
        about = f"Perturbations of the next reset, separated by commas: {', '.join(PERTURBATIONS)}."
        perturbations = self._declare("perturbations", "", about)
        # Given at the start alone: with a clock that nobody sets, the robot would stand still.
        self.set_descriptor("use_sim_time", ParameterDescriptor(type=ParameterType.PARAMETER_BOOL, read_only=True))
        self._contract = load_contract(contract)
        self._messages = RosMessages()
        self._slot_names = list(self._contract.slots)
        self._expert: Expert | None = None
        self._camera_publishers = {
            name: self.create_publisher(ros_class(camera.type), camera.topic, _profile(camera.qos))
            for name, camera in self._contract.cameras.items()
        }
        self._load(task, perturbations)
        self._reset()
        self.add_on_set_parameters_callback(self._check_parameters)
        self._state_publishers = [
            (source, self.create_publisher(ros_class(source.type), source.topic, _profile(source.qos)))
            for source in self._contract.state
        ]
        self._status_publisher = self.create_publisher(DiagnosticStatus, "~/task", 10)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._teleop = self.create_publisher(JointTrajectory, "/activemimic/teleop", 10)
        for sink in self._contract.commands:
            self._subscribe(sink)
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_service(SetBool, "~/expert", self._on_expert)
        self._ticks = 0
        self._expert_ticks = round(STEP_S * self._contract.rate_hz)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0 / self._contract.rate_hz, self._on_timer, clock=steady)
        scheduling = claim_priority(_PRIORITY, _NICENESS)
        self.get_logger().info(f"ready: {self._contract.name}, task {task}, seed {seed}, {scheduling}")

    def close(self) -> None:
        """End the thread of the cameras."""
        self._cameras.close()

    def _declare(self, name: str, default: Any, description: str, limits: IntegerRange | None = None) -> Any:
        descriptor = ParameterDescriptor(name=name, description=description, read_only=name == "contract")
        if limits is not None:
            descriptor.integer_range = [limits]
        return self.declare_parameter(name, default, descriptor).value

    def _load(self, task: str, perturbations: str) -> None:
        self._varied = perturbations
        self._simulation = Simulation(load_robot(self._contract.robot), make_task(task), _names(perturbations))
        sizes = {name: (camera.height, camera.width) for name, camera in self._contract.cameras.items()}
        self._cameras = BackgroundCameras(self._simulation, sizes, self._publish_images)

    def _reset(self) -> None:
        cell = self.get_parameter("cell").value
        with self._cameras.resting():
            self._simulation.reset(self.get_parameter("seed").value, None if cell < 0 else cell)
        self._paced = PacedSimulation(self._simulation, time.monotonic())
        self._began_at = self._simulation.measured()
        self._reset_ns = int(self.get_clock().now().nanoseconds)

    def _check_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Each parameter for itself: they come one by one, and whether they fit each other is the reset's question."""
        registries: dict[str, Collection[str]] = {"task": TASKS, "perturbations": PERTURBATIONS}
        for parameter in parameters:
            known = registries.get(parameter.name)
            if known is None:
                continue
            # A task is one name, perturbations are any number of them.
            for name in _names(parameter.value) if parameter.name == "perturbations" else [parameter.value]:
                if name not in known:
                    reason = f"{parameter.name}: there is no '{name}': expected {', '.join(known)}"
                    return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    def _subscribe(self, sink: JointSink) -> None:
        def on_command(message: Any) -> None:
            now_ns, now_s = int(self.get_clock().now().nanoseconds), time.monotonic()
            sent_ns = (stamp_ns(message) if hasattr(message, "header") else 0) or now_ns
            if sent_ns < self._reset_ns:
                return  # it waited in the queue while the scene was reset, and is for where the robot was before
            try:
                indices, values = decode_slots(sink, message)
            except CodecError as error:
                self.get_logger().error(f"command ignored: {error}", throttle_duration_sec=5.0)
                return
            self._paced.command_slots(indices, values, now_s - max(0, now_ns - sent_ns) / 1e9)

        self.create_subscription(ros_class(sink.type), sink.topic, on_command, _profile(sink.qos))

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        task, perturbations = self.get_parameter("task").value, self.get_parameter("perturbations").value
        self._expert = None
        try:
            if (task, perturbations) != (self._simulation.task.name, self._varied):
                # Tried first: what cannot be leaves the scene as it is.
                make_perturbations(_names(perturbations), make_task(task))
                self._cameras.close()
                self._load(task, perturbations)
            self._reset()
        except SceneError as error:
            response.success = False
            response.message = str(error)
            return response
        self._publish_state(self._reset_ns)  # before anybody is told of the reset and arms the robot
        self._publish_status()
        response.success = True
        response.message = f"task {task}, seed {self._simulation.seed}"
        return response

    def _on_expert(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._expert = make_expert(self._simulation, self._simulation.seed) if request.data else None
        if self._expert is not None and np.abs(self._simulation.measured() - self._began_at).max() > _MOVED:
            self._expert.take_over()
        response.success = True
        response.message = "the expert teleoperates" if request.data else "the expert rests"
        return response

    def _on_timer(self) -> None:
        now_ns = int(self.get_clock().now().nanoseconds)
        self._paced.advance_to(time.monotonic())
        self._publish_state(now_ns)
        if self._expert is not None and self._ticks % self._expert_ticks == 0:
            self._teleop.publish(self._expert_chunk(self._expert, now_ns))
        self._cameras.show(now_ns)
        if self._cameras.failure is not None:
            raise self._cameras.failure
        self._publish_status()
        if self._ticks % round(self._contract.rate_hz) == 0:
            self._report(now_ns)
        self._ticks += 1

    def _expert_chunk(self, expert: Expert, stamp_ns: int) -> JointTrajectory:
        chunk = JointTrajectory(joint_names=self._slot_names)
        chunk.header.stamp = rclpy.time.Time(nanoseconds=stamp_ns).to_msg()
        target = expert.act().tolist()
        # The second point lets the target stand for a while, should the next chunk be late.
        for seconds in (STEP_S, 2 * STEP_S):
            due = rclpy.duration.Duration(seconds=seconds).to_msg()
            chunk.points.append(JointTrajectoryPoint(positions=target, time_from_start=due))
        return chunk

    def _publish_images(self, images: dict[str, np.ndarray], stamp_ns: int) -> None:
        for name, image in images.items():
            camera = self._contract.cameras[name]
            self._camera_publishers[name].publish(encode_image(camera, image, stamp_ns, self._messages))

    def _publish_state(self, now_ns: int) -> None:
        for source, publisher in self._state_publishers:
            publisher.publish(encode_slots(source, self._simulation.measured(), now_ns, self._messages))

    def _publish_status(self) -> None:
        status = self._simulation.status()
        values = {
            "task": self._simulation.task.name,
            "seed": self._simulation.seed,
            "instruction": self._simulation.instruction,
            "time_s": f"{self._simulation.time_s:.3f}",
            "success": str(status.success).lower(),
            "stage": status.stage,
            "points": status.points,
            "failure": status.failure,
            "real_time_factor": f"{self._paced.real_time_factor():.4f}",
        }
        message = status.failure or ("success" if status.success else status.stage)
        self._status_publisher.publish(_status("sim", message, values))

    def _report(self, stamp_ns: int) -> None:
        array = DiagnosticArray(
            status=[_status("sim", "running", {"real_time_factor": f"{self._paced.real_time_factor():.4f}"})]
        )
        array.header.stamp = rclpy.time.Time(nanoseconds=stamp_ns).to_msg()
        self._diagnostics.publish(array)


def _names(texts: str) -> list[str]:
    """The names in a list separated by commas."""
    return [name.strip() for name in texts.split(",") if name.strip()]


def _status(name: str, message: str, values: dict[str, Any]) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return DiagnosticStatus(name=name, level=DiagnosticStatus.OK, message=message, values=pairs)


def _profile(qos: Qos) -> QoSProfile:
    return QoSProfile(
        depth=qos.depth,
        reliability=ReliabilityPolicy[qos.reliability.upper()],
        durability=DurabilityPolicy[qos.durability.upper()],
    )


def main() -> None:
    """Run until a signal or the end of the launcher; exit code 2 and one line if the configuration is wrong."""
    stopping: list[int] = []
    signals = ending_signals()
    for number in signals:
        signal.signal(number, lambda received, frame: stopping.append(received))
    end_with_launcher()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node: SimNode | None = None
    try:
        node = SimNode()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not stopping:
            executor.spin_once(timeout_sec=0.1)
    except (ContractError, RenderingError, ValueError) as error:
        with contextlib.suppress(OSError):  # a terminal that is gone
            print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(2)
    except ExternalShutdownException:
        pass
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
        # While the interpreter ends, Python would answer a further signal by dying of it.
        for number in signals:
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main()
