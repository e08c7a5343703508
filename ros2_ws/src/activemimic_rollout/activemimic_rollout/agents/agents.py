"""What can be evaluated in lock-step, beside each other: a checkpoint, the expert, a replay, holding still, chance.

In: the simulated robot at an instant. Out: the next chunk for its controller.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from activemimic_control.controller import Source
from activemimic_description.chunk import Chunk
from activemimic_description.codec import decode_image, encode_image
from activemimic_description.common.errors import InvalidInputError
from activemimic_description.contract import Contract
from activemimic_description.messages import BagMessages
from activemimic_policy.checked_policy import checkpoint_folder
from activemimic_policy.rtc import RealTimeChunking
from activemimic_sim.experts import make_expert
from activemimic_sim.experts.expert import STEP_S
from activemimic_sim.world.rendering import CameraRenderer

from activemimic_rollout.agents.latency import LateChunks, Latencies
from activemimic_rollout.agents.recorded_actions import RecordedActions, is_recorded, load_recorded
from activemimic_rollout.lockstep import LockstepRobot

_NS = 1_000_000_000
_STEP_NS = round(STEP_S * _NS)
_REPLAY = "replay:"
_RANDOM_HORIZON = 8  # steps of 0.1 s towards each random posture
_RANDOM_REACH = 0.25  # of a slot's range, at most, from where it is


class PolicyNameError(InvalidInputError):
    """A policy that there is not; the text names what can be evaluated."""


@dataclass(frozen=True)
class Serving:
    """How a checkpoint is served.

    Attributes:
        latencies: as late as on the robot; None: chunks come at once.
        rtc_mode: how chunks go on from one another, one of `activemimic_policy.rtc.RTC_MODES`.
        ablated_cameras: what these show is replaced by black.
        instruction: told instead of the scene's own words; empty: those.
    """

    latencies: Latencies | None = None
    rtc_mode: str = "replace"
    ablated_cameras: tuple[str, ...] = ()
    instruction: str = ""


class Agent(ABC):
    """Who moves the robot: asked in every control period for the chunk that is due; `period_ticks` lie between two."""

    source: Source = "policy"
    period_ticks: int

    def __init__(self, robot: LockstepRobot) -> None:
        self.robot = robot
        self.period_ticks = round(robot.rate_hz * STEP_S)

    def reset(self, seed: int) -> None:  # noqa: B027 - not every agent has something to begin
        """Begin a trial."""

    @abstractmethod
    def chunk(self) -> Chunk:
        """What shall happen from now on."""

    def chunk_due(self) -> Chunk | None:
        """What is to be handed to the controller in this control period, if anything."""
        return self.chunk() if self.robot.index % self.period_ticks == 0 else None


def check_policy_name(policy: str) -> None:
    """Raises PolicyNameError if no agent bears the name."""
    if policy in _BY_NAME or (checkpoint_folder(policy) / "config.json").is_file():
        return
    if policy.startswith(_REPLAY):
        if is_recorded(policy.removeprefix(_REPLAY)):
            return
        raise PolicyNameError(
            f"policy {policy!r}: expected a recorded episode's folder, or DATASET#NUMBER, after '{_REPLAY}'"
        )
    names = ", ".join(_BY_NAME)
    raise PolicyNameError(
        f"policy {policy!r}: expected a checkpoint's folder (with a config.json), the name of a shipped one, {names} "
        f"or {_REPLAY}EPISODE"
    )


def weights_digest(policy: str) -> str:
    """What tells a checkpoint's weights, and the noise it starts from, from others; empty for what has none."""
    folder = checkpoint_folder(policy)
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        return ""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    try:
        scale = json.loads((folder / "config.json").read_text())["policy"]["noise_scale"]
    except (OSError, ValueError, LookupError, TypeError):
        scale = 1.0  # a checkpoint from before there was a scale, or one that loading refuses in words
    if scale != 1.0:
        digest.update(f"noise_scale {scale}".encode())
    return digest.hexdigest()[:12]


def make_agent(
    policy: str,
    robot: LockstepRobot,
    cameras: CameraRenderer,
    contract: Contract,
    serving: Serving,
) -> Agent:
    """The agent of a name that `check_policy_name` passed. `serving` is a checkpoint's alone.

    Raises:
        PolicyMismatchError: the checkpoint was trained for another robot interface.
        BagError: the episode to replay is damaged.
        RtcError: the policy cannot do so.
        PolicyInputError: the policy does not have a camera that shall be black.
    """
    if policy in _BY_NAME:
        return _BY_NAME[policy](robot)
    if policy.startswith(_REPLAY):
        return Replay(robot, load_recorded(policy.removeprefix(_REPLAY)))
    return CheckpointPolicy(robot, cameras, contract, policy, serving)


class ExpertPolicy(Agent):
    """The task's scripted expert."""

    source: Source = "teleop"

    def reset(self, seed: int) -> None:
        self._expert = make_expert(self.robot.simulation, seed)

    def chunk(self) -> Chunk:
        return Chunk(self.robot.stamp_ns, _STEP_NS, self._expert.act()[None])


class HoldStill(Agent):
    """Stays in the posture of the start."""

    def reset(self, seed: int) -> None:
        self._posture = self.robot.simulation.measured()

    def chunk(self) -> Chunk:
        return Chunk(self.robot.stamp_ns, _STEP_NS, self._posture[None])


class RandomMotion(Agent):
    """Moves towards one random posture after the other."""

    def __init__(self, robot: LockstepRobot) -> None:
        super().__init__(robot)
        self.period_ticks *= _RANDOM_HORIZON

    def reset(self, seed: int) -> None:
        self._random = np.random.default_rng([seed, 17])

    def chunk(self) -> Chunk:
        robot = self.robot.simulation.robot
        start = self.robot.simulation.measured()
        step = self._random.uniform(-1.0, 1.0, len(start)) * _RANDOM_REACH * (robot.upper - robot.lower)
        goal = np.clip(start + step, robot.lower, robot.upper)
        share = np.arange(1, _RANDOM_HORIZON + 1)[:, None] / _RANDOM_HORIZON
        return Chunk(self.robot.stamp_ns, _STEP_NS, start + share * (goal - start))


class Replay(Agent):
    """Repeats the commands of a recorded episode, whatever it sees."""

    def __init__(self, robot: LockstepRobot, recorded: RecordedActions) -> None:
        super().__init__(robot)
        self._recorded = recorded

    def chunk(self) -> Chunk:
        # The command of the end of the step: where the robot shall be by then.
        due_s = self.robot.simulation.time_s + STEP_S
        return Chunk(self.robot.stamp_ns, _STEP_NS, self._recorded.commanded_at(due_s)[None])


class CheckpointPolicy(Agent):
    """A trained policy, fed as on the robot: through the cameras' encoding and its own transforms.

    With latencies it is as late as on the robot, too: `chunk_due` hands over what `chunk` inferred, when its time
    has come, and asks for the next one as the policy node does.
    """

    def __init__(
        self,
        robot: LockstepRobot,
        cameras: CameraRenderer,
        contract: Contract,
        checkpoint: str,
        serving: Serving,
    ) -> None:
        from activemimic_policy.checked_policy import load_checked_policy  # seconds of torch

        super().__init__(robot)
        self._cameras, self._contract = cameras, contract
        self._policy = load_checked_policy(checkpoint, contract, ablated_cameras=serving.ablated_cameras)
        spec = self._policy.spec
        self._step_ns = spec.step_ns
        self._messages = BagMessages()
        self._latencies = serving.latencies
        self._instruction = serving.instruction
        self._velocity, self._rtc_mode = robot.simulation.robot.velocity, serving.rtc_mode
        self.period_ticks = round(robot.rate_hz * spec.execution_horizon / spec.fps)
        self.reset(0)

    def reset(self, seed: int) -> None:
        self._random = np.random.default_rng([seed, 13])
        self.rtc = RealTimeChunking(self._policy.spec, self._velocity, self._rtc_mode)
        self._late = None if self._latencies is None else LateChunks(self._latencies.replay(seed))

    def chunk(self) -> Chunk:
        stamp_ns = self.robot.stamp_ns
        images = {}
        for name, rendered in self._cameras.render(self.robot.simulation.data).items():
            camera = self._contract.cameras[name]
            images[name] = decode_image(camera, encode_image(camera, rendered, stamp_ns, self._messages))
        simulation = self.robot.simulation
        noise = self._policy.spec.draw_noise(self._random)
        state = simulation.measured()
        in_flight = self.rtc.in_flight(stamp_ns, state)
        guided = in_flight is not None and self.rtc.guided
        told = self._instruction or simulation.instruction
        positions = self._policy.infer(images, state, told, noise, in_flight, guided)
        return Chunk(stamp_ns, self._step_ns, positions)

    def chunk_due(self) -> Chunk | None:
        if self._late is not None:
            period_ns = self.period_ticks * _NS // self.robot.rate_hz
            return self._late.due(self.robot.stamp_ns, period_ns, self.chunk, self.rtc.sent)
        chunk = super().chunk_due()
        if chunk is not None:
            self.rtc.sent(chunk, self.robot.stamp_ns)
        return chunk


_BY_NAME: dict[str, type[Agent]] = {"expert": ExpertPolicy, "hold": HoldStill, "random": RandomMotion}
