"""Every parameter of every node: name, default, what it means, in which range. Pure data, read without ROS.

The nodes declare from these tables, the launch graph checks its arguments against them, and
`docs/reference/parameters.md` is written from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Value = bool | int | float | str

NAME = r"[a-z0-9][a-z0-9_-]{0,63}"  # becomes part of a file's name
TEXT = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]{0,1000}"  # one line, no control characters


@dataclass(frozen=True)
class Parameter:
    """One ROS parameter. The type is that of `default`; `run_time` ones may change while the node runs.

    A text is one of `choices`, or matches `pattern` as a whole, where they are given.
    """

    name: str
    default: Value
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    run_time: bool = False
    pattern: str = ""

    def refusal(self, value: Value) -> str:
        """Why a value of the right type and range cannot be set; "" if it can."""
        if self.choices and value not in self.choices:
            return f"parameter {self.name}: expected one of {', '.join(self.choices)}, found {value!r}"
        if self.pattern and not re.fullmatch(self.pattern, str(value)):
            return f"parameter {self.name}: expected {_PATTERNS[self.pattern]}, found {_short(value)}"
        return ""


def names(value: str) -> list[str]:
    """The names of a parameter that holds several, separated by commas."""
    return [name.strip() for name in value.split(",") if name.strip()]


def refusal(parameters: Iterable[Parameter], values: Mapping[str, Value]) -> str:
    """Why the values of these parameters cannot be set; "" if they can."""
    known = {parameter.name: parameter for parameter in parameters}
    told = (known[name].refusal(value) for name, value in values.items() if name in known)
    return next(filter(None, told), "")


def _short(value: Value) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}… ({len(str(value))} characters)"


_PATTERNS = {
    NAME: "a name of at most 64 of a-z, 0-9, _ and -, beginning with a letter or digit",
    TEXT: "at most 1000 characters in one line, none of them a control character",
}

CONTRACT = Parameter("contract", "g1_sim", "Robot contract: a shipped name or the path of a YAML file.")

CONTROLLER = (
    CONTRACT,
    Parameter("rate_hz", 100.0, "Rate of the commands to the robot, in Hz.", 30.0, 200.0),
    Parameter("max_chunk_age_s", 1.0, "A chunk whose observation is older than this is rejected, in s.", 0.05, 10.0),
    Parameter(
        "max_chunk_gap_s",
        0.5,
        "A policy silent for so long after the end of its last chunk is a fault, in s.",
        0.05,
        10.0,
    ),
    Parameter(
        "max_heartbeat_gap_s",
        0.3,
        "A policy with a heartbeat (/activemimic/heartbeat) that is silent for so long is a fault, in s.",
        0.05,
        10.0,
    ),
    Parameter("max_state_age_s", 0.25, "With joint states older than this the robot holds, in s.", 0.02, 10.0),
    Parameter(
        "max_lead_rad",
        0.2618,
        "A command is never farther before the measured joint than this, in rad; the vendor refuses more than 0.2618.",
        0.01,
        1.0,
    ),
    Parameter("max_lead_m", 0.05, "The same for a slot in metres (the lift), in m.", 0.005, 1.0),
    Parameter("collision_margin_m", 0.02, "Distance between the robot's links that is kept, in m.", 0.0, 0.2),
    Parameter("motion_scale", 1.0, "Share of the velocity, acceleration and jerk limits that is used.", 0.01, 1.0),
    Parameter(
        "deadman_s", 0.0, "A deadman's switch has to be pressed at least so often, in s; 0: there is none.", 0.0, 5.0
    ),
    Parameter("latch_policy_grippers", True, "Keep a gripper closed unless the policy opens it for several steps."),
    Parameter(
        "chunk_aggregation",
        "replace",
        "What remains of earlier policy chunks: nothing, or a mean with ACT's or with falling weights.",
        choices=("replace", "temporal_ensemble", "temporal_smoothing"),
    ),
    Parameter("start_running", False, "Arm and run as soon as the robot is there, without an operator's word."),
    Parameter(
        "operator_key_file",
        "",
        "File of the key without which nobody may arm or run; empty: the user's own, made if missing; off: no key.",
    ),
    Parameter(
        "operator",
        "",
        "An operator's word, arm or run, as the answer to a challenge: `activemimic robot arm`.",
        run_time=True,
    ),
)

POLICY = (
    CONTRACT,
    Parameter(
        "checkpoint",
        "",
        "A folder or a shipped one's name; required. Set while it runs, another is loaded; a bad one is refused.",
        run_time=True,
        pattern=TEXT,
    ),
    Parameter(
        "checkpoint_roots",
        "",
        "Folders, separated by ':', in which a checkpoint has to lie that is set while it runs; empty: the shipped "
        "ones' and the one that holds the checkpoint given at the start.",
    ),
    Parameter(
        "instruction",
        "",
        "What the robot shall do; empty: the checkpoint's own, if it knows just one.",
        run_time=True,
        pattern=TEXT,
    ),
    Parameter("device", "cpu", "Where the policy runs: cpu, cuda or cuda:N; tensorrt with runtime onnx."),
    Parameter("threads", 1, "Threads of the policy on the CPU.", 1, 256),
    Parameter(
        "runtime",
        "eager",
        "How the network is run; onnx after `activemimic policy export`.",
        choices=("eager", "compiled", "cuda_graph", "onnx"),
    ),
    Parameter(
        "precision",
        "fp32",
        "What the network computes in; bf16 not with runtime onnx, int8 only there.",
        choices=("fp32", "bf16", "int8"),
    ),
    Parameter(
        "ablated_cameras", "", "Cameras that the policy is shown black, separated by commas; to see who is used."
    ),
    Parameter(
        "inference_period_s",
        0.0,
        "Time from one inference to the next, in s; 0: execution_horizon / fps of the checkpoint.",
        0.0,
        10.0,
    ),
    Parameter(
        "rtc_mode",
        "replace",
        "How a chunk goes on from the one in flight; auto: rtc_trained if the policy was trained for it, else replace.",
        choices=("auto", "replace", "rtc_trained", "rtc_guided"),
    ),
    Parameter("max_observation_age_s", 0.5, "An observation older than this is not inferred from, in s.", 0.02, 10.0),
    Parameter(
        "start",
        "active",
        "How far it goes by itself: to active it infers at once; further by `ros2 lifecycle set`.",
        choices=("unconfigured", "inactive", "active"),
    ),
)

RECORDER = (
    CONTRACT,
    Parameter("out", "out/episodes", "Folder that receives one folder an episode."),
    Parameter(
        "task",
        "reaching",
        "Name of the task, written to episode.yaml; episodes are called after it.",
        run_time=True,
        pattern=NAME,
    ),
    Parameter(
        "instruction", "", "What the robot was asked to do, written to episode.yaml.", run_time=True, pattern=TEXT
    ),
    Parameter("seed", 0, "Seed of the scene, written to episode.yaml.", 0, 2**31 - 1, run_time=True),
    Parameter(
        "min_free_gb",
        1.0,
        "Refuse to start with less free disk space than this, in GB; with a tenth of it an episode is ended.",
        0.0,
        1e5,
    ),
)

EVALUATOR = (
    CONTRACT,
    Parameter(
        "mode",
        "policy",
        "Who moves the robot in the trials: the policy, or the simulator's expert.",
        choices=("policy", "expert"),
    ),
    Parameter("checkpoint", "", "Written to results.json: trials of different checkpoints are not mixed."),
    Parameter("task", "reaching", "Task set in the simulator before each trial."),
    Parameter("plan", "", "File of the trial plan; empty: the one published for the task."),
    Parameter("trials", 0, "Number of trials; 0: the whole plan.", 0, 100_000),
    Parameter(
        "first_seed", -1, "Seed of the first trial, the others follow by one; -1: the trial plan.", -1, 2**31 - 1
    ),
    Parameter("perturbations", "", "Perturbations of the scene, separated by commas; empty: none."),
    Parameter("ablated_cameras", "", "Written to results.json: cameras that the policy is shown black."),
    Parameter("instruction", "", "What the policy is told in every trial; empty: each scene's own words."),
    Parameter(
        "time_limit_s",
        0.0,
        "A trial without success ends after this time, in s; 0: the task's own limit, which ends it in any case.",
        0.0,
        3600.0,
    ),
    Parameter("record", False, "Record every trial as an episode through /recorder."),
    Parameter("out", "out/evaluation", "Folder of results.json; trials already in it are not repeated."),
    Parameter("operator_key_file", "", "File of the controller's operator key; empty: the user's own."),
    Parameter("service_timeout_s", 60.0, "Longest wait for another node to start or to answer, in s.", 0.1, 600.0),
)

NODES: dict[str, tuple[Parameter, ...]] = {
    "controller": CONTROLLER,
    "policy": POLICY,
    "recorder": RECORDER,
    "evaluator": EVALUATOR,
}
