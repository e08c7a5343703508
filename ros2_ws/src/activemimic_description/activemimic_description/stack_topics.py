"""The stack's own topics and services, beside those that the robot contract names. Pure data, read without ROS."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Topic:
    """A topic and who says what on it."""

    name: str
    type: str
    publisher: str
    meaning: str


@dataclass(frozen=True)
class Service:
    """A service; its node is the first part of the name."""

    name: str
    type: str
    meaning: str


_TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
_STATUS = "diagnostic_msgs/msg/DiagnosticStatus"
_TRIGGER = "std_srvs/srv/Trigger"
_SET_BOOL = "std_srvs/srv/SetBool"

CHUNK = Topic(
    "/activemimic/chunk",
    _TRAJECTORY,
    "policy",
    "A chunk of targets. `header.stamp` is the time of the observation it answers, `joint_names` are the slots in any "
    "order, point k (from 0) is due at the stamp plus its `time_from_start` = (k + 1) / fps. Positions in slot units.",
)
TELEOP = Topic(
    "/activemimic/teleop",
    _TRAJECTORY,
    "a teleoperator, or the simulator's expert",
    "As /activemimic/chunk; while one of these plays, the policy's chunks are rejected.",
)
INFERENCE = Topic(
    "/activemimic/inference",
    _STATUS,
    "policy",
    "One for each chunk: `inference_ms`, `observation_age_ms`, and `stamp`, the chunk's stamp in nanoseconds. Then the "
    "stages from that stamp until the chunk was handed over, one after the other: `receive_ms` until the last camera "
    "image or joint state that it is made of had arrived, `wait_ms` until the policy took them, `preprocess_ms` "
    "(decoding, scaling, normalising), `prefix_ms` (images and text to the cache), `denoise_ms` (noise to actions), "
    "`postprocess_ms` (to slot units, and all the rest). And `<camera>_lag_ms`: the newest image's stamp to its "
    "arrival.",
)
HEARTBEAT = Topic(
    "/activemimic/heartbeat",
    _STATUS,
    "policy",
    "Twenty times a second, as long as the node lives. Level OK: it is active and can infer; WARN: it is not active, "
    "and the message is its state; ERROR: it is active and cannot infer, and the message says why: a camera or joint "
    "state is late, an image is of another size or encoding, a camera repeats one frame, an inference lasts too long. "
    "`state`, `stamp` (ns), `chunk_period_s` from one chunk to the next, `inferring_s`: how long the inference that "
    "runs now has lasted, 0 if none runs.",
)
TASK = Topic(
    "/sim/task",
    _STATUS,
    "sim",
    "What the simulated task has come to: `task`, `seed`, `instruction`, `time_s` since the reset, `success`, "
    "`failure`, `stage`, `real_time_factor`.",
)
DIAGNOSTICS = Topic(
    "/diagnostics",
    "diagnostic_msgs/msg/DiagnosticArray",
    "all nodes, once a second",
    "The state of every node, with the reason when it holds, waits or refuses. The policy adds for each camera (and "
    "state topic) `<name>_rate_hz`, `_lag_ms` and `_drops`: messages for which the gaps between stamps have room at "
    "the contract's rate.",
)
CONTROL = Topic(
    "/activemimic/control",
    _STATUS,
    "controller",
    "One for each change of `mode` or of who moves the robot (`source`: policy, teleop or nobody), so that an "
    "intervention is seen in the recording; and for each kind of limit event, at most ten times a second: `slot`, what "
    "was `asked`, what was `sent`, and why.",
)
TIMING = Topic(
    "/activemimic/timing",
    _STATUS,
    "controller",
    "One for each accepted chunk, once the robot was seen to follow it or the next one came: `source`, `stamp` (the "
    "chunk's), `chunk_age_ms` from that stamp to the chunk's arrival, `first_command_ms` from there to the first "
    "command that follows it, `motion_ms` from the first of its commands that moves a joint by more than 0.05 rad/s "
    "until that joint is measured there, which in a smooth motion is the robot's tracking delay. `nan`: it did not "
    "happen.",
)
SHADOW = Topic(
    "/activemimic/shadow_command",
    "sensor_msgs/msg/JointState",
    "controller, while idle",
    "What it would command if it ran: slots by name, slot units.",
)
DEADMAN = Topic(
    "/activemimic/deadman",
    "std_msgs/msg/Bool",
    "a deadman's switch",
    "True while it is pressed, at least every `deadman_s` of the controller.",
)
TOPICS = (CHUNK, TELEOP, INFERENCE, HEARTBEAT, TASK, DIAGNOSTICS, CONTROL, TIMING, SHADOW, DEADMAN)

ARM = Service(
    "/controller/arm",
    _TRIGGER,
    "From idle: command the measured posture from now on. Refused where an operator key is asked for; "
    "`activemimic robot arm` has it.",
)
CHALLENGE = Service(
    "/controller/challenge",
    _TRIGGER,
    "A nonce, which an operator answers within 10 s by setting the controller's parameter `operator` to "
    "`WORD:NONCE:HMAC-SHA256(key, WORD:NONCE)`, WORD `arm` or `run`. `activemimic robot arm` does so. Refused where "
    "the key is off.",
)
RUN = Service(
    "/controller/run",
    _TRIGGER,
    "From armed or holding: play chunks whose observations are newer than this. The key as for arm.",
)
CONTROLLER_HOLD = Service("/controller/hold", _TRIGGER, "Brake, and hold the posture until it is told to run.")
STOP_ROBOT = Service("/controller/stop", _TRIGGER, "Brake, hold, and refuse to run until it is reset.")
CONTROLLER_RESET = Service(
    "/controller/reset", _TRIGGER, "Command nothing any more. Refused while the robot still brakes: call hold first."
)
POLICY_STATE = Service(
    "/policy/change_state",
    "lifecycle_msgs/srv/ChangeState",
    "ROS 2's managed life cycle: configure loads the checkpoint, activate infers from observations newer than the "
    "call, deactivate rests, cleanup lets go of the checkpoint. `ros2 lifecycle set /policy activate`.",
)
RECORDER_START = Service(
    "/recorder/start",
    _TRIGGER,
    "Begin an episode; the answer is its folder. Refused while one is recorded, when a camera or joint state was not "
    "seen within the last second, when nobody publishes the commands, and when the disk is nearly full.",
)
RECORDER_STOP = Service("/recorder/stop", _SET_BOOL, "Close the episode: `data` says whether it succeeded.")
RECORDER_DISCARD = Service("/recorder/discard", _TRIGGER, "Delete the episode that is being recorded.")
SIM_RESET = Service("/sim/reset", _TRIGGER, "Place everything as the parameters `task` and `seed` of /sim say.")
SIM_EXPERT = Service("/sim/expert", _SET_BOOL, "Let the task's expert teleoperate, or rest.")
SERVICES = (
    ARM,
    CHALLENGE,
    RUN,
    CONTROLLER_HOLD,
    STOP_ROBOT,
    CONTROLLER_RESET,
    POLICY_STATE,
    RECORDER_START,
    RECORDER_STOP,
    RECORDER_DISCARD,
    SIM_RESET,
    SIM_EXPERT,
)
