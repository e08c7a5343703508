"""Every parameter of every node: name, default, what it means, in which range. Pure data, read without ROS.

The nodes declare from these tables, the launch graph checks its arguments against them, and
`docs/reference/parameters.md` is written from them.
"""

from __future__ import annotations

from dataclasses import dataclass

Value = bool | int | float | str


@dataclass(frozen=True)
class Parameter:
    """One ROS parameter. The type is that of `default`; `run_time` ones may change while the node runs."""

    name: str
    default: Value
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    run_time: bool = False


def names(value: str) -> list[str]:
    """The names of a parameter that holds several, separated by commas."""
    return [name.strip() for name in value.split(",") if name.strip()]


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
        0.25,
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
        "join",
        "replace",
        "What remains of earlier policy chunks: nothing, or a mean with ACT's or with falling weights.",
        choices=("replace", "temporal_ensemble", "temporal_smoothing"),
    ),
    Parameter("start_running", False, "Arm and run as soon as the robot is there, without calls of ~/arm and ~/run."),
)

POLICY = (
    CONTRACT,
    Parameter(
        "checkpoint",
        "",
        "A folder or a shipped one's name; required. Set while it runs, another is loaded; a bad one is refused.",
        run_time=True,
    ),
    Parameter(
        "instruction",
        "",
        "What the robot shall do; empty: the checkpoint's own, if it knows just one.",
        run_time=True,
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
    Parameter("zeroed_cameras", "", "Cameras that the policy is shown black, separated by commas; to see who is used."),
    Parameter(
        "replan_period_s",
        0.0,
        "Time from one inference to the next, in s; 0: execute_steps / fps of the checkpoint.",
        0.0,
        10.0,
    ),
    Parameter(
        "join",
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
    Parameter("task", "reaching", "Name of the task, written to episode.yaml.", run_time=True),
    Parameter("instruction", "", "What the robot was asked to do, written to episode.yaml.", run_time=True),
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
    Parameter("variations", "", "Variations of the scene, separated by commas; empty: none."),
    Parameter("zeroed_cameras", "", "Written to results.json: cameras that the policy is shown black."),
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
    Parameter("service_timeout_s", 60.0, "Longest wait for another node to start or to answer, in s.", 0.1, 600.0),
)

NODES: dict[str, tuple[Parameter, ...]] = {
    "controller": CONTROLLER,
    "policy": POLICY,
    "recorder": RECORDER,
    "evaluator": EVALUATOR,
}
