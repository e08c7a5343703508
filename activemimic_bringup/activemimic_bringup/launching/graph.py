"""The one description of what runs together: nodes, parameters, remappings, and the arguments that choose them.

`launch/*.launch.py` and `activemimic up` both read it and therefore start the same graph. It knows neither ROS
nor `launch`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from activemimic_description.common.errors import InvalidInputError

from activemimic_bringup.launching.parameters import Value

FASTDDS_PROFILE = Path(__file__).parents[1] / "config" / "fastdds.xml"
TASKS = ("restocking", "reaching", "finding", "pouring")
REFUSED = 2  # exit code of a node that was started with what it cannot run with
RESPAWN_DELAY_S = 2.0


class GraphError(InvalidInputError):
    """Arguments that name no graph; the text lists what there is."""


@dataclass(frozen=True)
class Argument:
    """One `name:=value` of a graph; the type is that of the default."""

    name: str
    default: Value
    description: str
    choices: tuple[str, ...] = ()

    def parse(self, text: str) -> Value:
        """The typed value of `text`; raises GraphError naming the argument, what was expected and found."""
        kind = type(self.default)
        try:
            value = _BOOLEANS[text.lower()] if kind is bool else kind(text)
        except (ValueError, KeyError):
            raise GraphError(f"argument {self.name}: expected {_KINDS[kind]}, found {text!r}") from None
        if self.choices and value not in self.choices:
            raise GraphError(f"argument {self.name}: expected one of {', '.join(self.choices)}, found {text!r}")
        return value


@dataclass(frozen=True)
class NodeSpec:
    """One process: `executable` of the installed ROS package, or `python -m module`.

    The end of an `essential` node ends the graph. The others may fail: the controller goes on without them, and holds.
    One that is to `respawn` is started again after RESPAWN_DELAY_S, unless it ended with 0 or REFUSED.
    """

    name: str
    package: str
    executable: str
    module: str
    parameters: Mapping[str, Value] = field(default_factory=dict)
    remappings: tuple[tuple[str, str], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    enclave: str = ""  # of SROS 2
    essential: bool = False
    respawn: bool = False

    def ends_graph(self, code: int) -> bool:
        """Whether the graph ends when this node has ended with exit code `code`, which nobody asked it to."""
        return self.essential or code == REFUSED

    def respawns(self, code: int) -> bool:
        """Whether the node is started again when it has ended with exit code `code`."""
        return self.respawn and code not in (0, REFUSED)

    def obituary(self, code: int) -> str:
        """What to tell when the node has ended with exit code `code`."""
        ended = f"node {self.name} ended with exit code {code}"
        if self.ends_graph(code):
            return f"{ended}; ending the others"
        goes_on = f"{ended}; the controller goes on, and holds when nothing is left to play"
        return f"{goes_on}; {self.name} starts again in {RESPAWN_DELAY_S:g} s" if self.respawns(code) else goes_on


@dataclass(frozen=True)
class Graph:
    """A set of nodes that is started by one command."""

    name: str
    description: str
    arguments: tuple[Argument, ...]
    nodes: Callable[[Mapping[str, Value]], tuple[NodeSpec, ...]]

    def specs(self, texts: Mapping[str, str]) -> tuple[NodeSpec, ...]:
        """The nodes for the given `name: text` arguments; defaults fill the rest.

        Raises GraphError for an argument that is unknown or of the wrong type, and for a node without an enclave.
        """
        known = {argument.name: argument for argument in self.arguments}
        for name in texts:
            if name not in known:
                raise GraphError(f"graph {self.name} has no argument {name!r}; it has: {', '.join(known)}")
        values = {
            name: argument.parse(texts[name]) if name in texts else argument.default for name, argument in known.items()
        }
        discovery = discovery_environment(str(values["discovery"]))
        specs = (replace(spec, environment={**discovery, **spec.environment}) for spec in self.nodes(values))
        return tuple(_secured(spec, Path(str(values["security"]))) if values["security"] else spec for spec in specs)


def graph(name: str) -> Graph:
    """The graph of that name; raises GraphError listing all."""
    try:
        return GRAPHS[name]
    except KeyError:
        raise GraphError(f"no graph {name!r}; there are: {', '.join(GRAPHS)}") from None


def shared_environment(inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What every process of a graph gets besides its own: the Fast DDS profile, unless the user chose one."""
    if {"FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"} & inherited.keys():
        return {}
    return {"FASTRTPS_DEFAULT_PROFILES_FILE": str(FASTDDS_PROFILE)}


def discovery_environment(discovery: str = "localhost", inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """How far nodes are seen: on this computer alone, unless the user's environment says otherwise."""
    if discovery == "inherit" or (discovery == "localhost" and _DISCOVERY_VARIABLES & inherited.keys()):
        return {}
    if inherited.get("ROS_DISTRO") == "humble":
        return {"ROS_LOCALHOST_ONLY": "1" if discovery == "localhost" else "0"}
    return {"ROS_AUTOMATIC_DISCOVERY_RANGE": discovery.upper()}


def enclave(node: str) -> str:
    """The node's enclave of SROS 2."""
    return f"/activemimic/{node}"


def _secured(spec: NodeSpec, keystore: Path) -> NodeSpec:
    own = enclave(spec.name)
    if not (keystore / "enclaves" / own.lstrip("/")).is_dir():
        raise GraphError(f"argument security: {keystore} has no enclave {own}; see docs/how-to/secure.md")
    environment = {
        **spec.environment,
        "ROS_SECURITY_ENABLE": "true",
        "ROS_SECURITY_STRATEGY": "Enforce",
        "ROS_SECURITY_KEYSTORE": str(keystore.resolve()),
    }
    return replace(spec, environment=environment, enclave=own)


_DISCOVERY_VARIABLES = frozenset({"ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_STATIC_PEERS", "ROS_LOCALHOST_ONLY"})
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}

_CONTRACT = Argument("contract", "g1_sim", "robot contract: a shipped name or the path of a YAML file")
_CHECKPOINT = Argument("checkpoint", "", "checkpoint: a folder or a shipped one's name; empty: no policy is started")
_INSTRUCTION = Argument("instruction", "", "what the robot shall do; empty: the checkpoint's own, if it knows just one")
_TASK = Argument("task", "reaching", "task of the simulator and the episodes", TASKS)
_SEED = Argument("seed", 0, "seed of the scene")
_VARIATIONS = Argument("perturbations", "", "perturbations of the scene, separated by commas; empty: none")
_RATE = Argument("rate_hz", 100.0, "rate of the commands to the robot, in Hz (30 to 200)")
_SCALE = Argument("motion_scale", 1.0, "share of the velocity, acceleration and jerk limits that is used (0.01 to 1)")
_THREADS = Argument("threads", 1, "CPU threads of the policy")
_DEVICE = Argument("device", "cpu", "where the policy runs: cpu, cuda or cuda:N; tensorrt with runtime onnx")
_RUNTIME = Argument("runtime", "eager", "how the network is run", ("eager", "compiled", "cuda_graph", "onnx"))
_PRECISION = Argument("precision", "fp32", "what the network computes in", ("fp32", "bf16", "int8"))
_ZEROED = Argument("ablated_cameras", "", "cameras that the policy is shown black, separated by commas")
_DIAGNOSTICS = Argument("diagnostics", "/diagnostics", "topic of the diagnostics of all nodes")
_KEY = Argument(
    "operator_key_file", "", "file of the key without which nobody may arm or run; empty: your own; off: no key"
)
_DISCOVERY = Argument(
    "discovery",
    "localhost",
    "who sees the nodes: this computer (unless ROS's variables are set), its network, or whom those variables say",
    ("localhost", "subnet", "inherit"),
)
_SECURITY = Argument("security", "", "keystore of SROS 2, whose enclaves the nodes get; empty: without SROS 2")
_GUARDS = (_KEY, _DISCOVERY, _SECURITY)
_OUT = Argument("out", "", "folder of recorded episodes; empty: no recorder is started")
_RESPAWN = Argument("respawn_policy", False, "start a policy that died again; the robot holds until /controller/run")


def _running(default: bool) -> Argument:
    return Argument(
        "running", default, "arm and run at once; otherwise on an operator's word: activemimic robot arm, then run"
    )


def _sim_graph(a: Mapping[str, Value]) -> tuple[NodeSpec, ...]:
    nodes = [_sim(a), _controller(a)]
    if a["checkpoint"]:
        nodes.append(_policy(_told(a)))
    if a["out"]:
        nodes.append(_recorder(a))
    return tuple(nodes)


def _policy_graph(a: Mapping[str, Value]) -> tuple[NodeSpec, ...]:
    return (_controller(a), _policy(a))


def _record_graph(a: Mapping[str, Value]) -> tuple[NodeSpec, ...]:
    nodes = [_controller(a), _recorder(a)]
    return (_sim(a), *nodes) if a["sim"] else tuple(nodes)


def _evaluate_graph(a: Mapping[str, Value]) -> tuple[NodeSpec, ...]:
    # The evaluator sets the seed and arms the controller for each trial.
    quiet = {**a, "seed": 0, "running": False}
    nodes = [_sim(quiet), _controller(quiet)]
    if a["mode"] == "policy":
        nodes.append(_policy(_told(quiet)))
    if a["episodes"]:
        nodes.append(_recorder({**quiet, "out": a["episodes"]}))
    # Nobody watches: there shall be no results of half the nodes.
    return tuple(replace(node, essential=True) for node in (*nodes, _evaluator(quiet)))


def _told(a: Mapping[str, Value]) -> Mapping[str, Value]:
    """With the task's usual words where no others are given: a checkpoint may know several instructions."""
    from activemimic_sim.tasks import make_task  # only where the simulator is

    return {**a, "instruction": a["instruction"] or make_task(str(a["task"])).instructions[0]}


def _sim(a: Mapping[str, Value]) -> NodeSpec:
    return NodeSpec(
        name="sim",
        package="activemimic_sim",
        executable="sim_node",
        module="activemimic_sim.sim_node",
        parameters=_pick(a, "contract", "task", "seed", "perturbations"),
        remappings=_remappings(a),
        environment={"LP_NUM_THREADS": "1"},  # Mesa's rasteriser shall not fight with the policy for cores
    )


def _controller(a: Mapping[str, Value]) -> NodeSpec:
    picked = _pick(a, "contract", "rate_hz", "motion_scale", "operator_key_file")
    return replace(_own("controller", a, {**picked, "start_running": a["running"]}), essential=True)


def _policy(a: Mapping[str, Value]) -> NodeSpec:
    threads = str(a["threads"])
    node = _own(
        "policy",
        a,
        _pick(
            a, "contract", "checkpoint", "instruction", "device", "threads", "runtime", "precision", "ablated_cameras"
        ),
        {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
    )
    return replace(node, respawn=bool(a.get("respawn_policy", False)))


def _recorder(a: Mapping[str, Value]) -> NodeSpec:
    return _own("recorder", a, _pick(a, "contract", "out", "task", "instruction", "seed"))


def _evaluator(a: Mapping[str, Value]) -> NodeSpec:
    own = _pick(
        a,
        "contract",
        "mode",
        "checkpoint",
        "task",
        "plan",
        "trials",
        "first_seed",
        "perturbations",
        "time_limit_s",
        "ablated_cameras",
        "instruction",
        "operator_key_file",
    )
    return _own("evaluator", a, {**own, "out": a["results"], "record": bool(a["episodes"])})


def _own(
    name: str,
    a: Mapping[str, Value],
    parameters: Mapping[str, Value],
    environment: Mapping[str, str] | None = None,
) -> NodeSpec:
    return NodeSpec(
        name=name,
        package="activemimic_bringup",
        executable=f"{name}_node",
        module=f"activemimic_bringup.nodes.{name}_node",
        parameters=parameters,
        remappings=_remappings(a),
        environment=environment or {},
    )


def _remappings(a: Mapping[str, Value]) -> tuple[tuple[str, str], ...]:
    return (("/diagnostics", str(a["diagnostics"])),)


def _pick(a: Mapping[str, Value], *names: str) -> dict[str, Value]:
    return {name: a[name] for name in names}


GRAPHS = {
    g.name: g
    for g in (
        Graph(
            "sim",
            "The simulated G1 and its controller; with checkpoint:= the policy, with out:= the recorder.",
            (
                _CONTRACT,
                _TASK,
                _SEED,
                _VARIATIONS,
                _CHECKPOINT,
                Argument("instruction", "", "what the robot shall do; empty: the task's usual words"),
                _DEVICE,
                _THREADS,
                _RUNTIME,
                _PRECISION,
                _ZEROED,
                _RESPAWN,
                _RATE,
                _SCALE,
                _running(True),
                _OUT,
                _DIAGNOSTICS,
                *_GUARDS,
            ),
            _sim_graph,
        ),
        Graph(
            "policy",
            "Policy and controller on a real robot, which stays still until an operator arms and runs it.",
            (
                Argument("contract", "g1_hal", _CONTRACT.description),
                Argument("checkpoint", "", "checkpoint: a folder or a shipped one's name; required"),
                _INSTRUCTION,
                _DEVICE,
                _THREADS,
                _RUNTIME,
                _PRECISION,
                _ZEROED,
                _RESPAWN,
                _RATE,
                _SCALE,
                _running(False),
                _DIAGNOSTICS,
                *_GUARDS,
            ),
            _policy_graph,
        ),
        Graph(
            "record",
            "Recorder and controller, for teleoperated episodes; with sim:=true also the simulated G1.",
            (
                _CONTRACT,
                Argument("sim", False, "also start the simulated G1"),
                _TASK,
                _SEED,
                _VARIATIONS,
                _INSTRUCTION,
                Argument("out", "out/episodes", "folder of the recorded episodes"),
                _RATE,
                _SCALE,
                _running(False),
                _DIAGNOSTICS,
                *_GUARDS,
            ),
            _record_graph,
        ),
        Graph(
            "evaluate",
            "The simulated G1, controller, policy (or the expert) and the evaluator, which ends the graph.",
            (
                _CONTRACT,
                _TASK,
                Argument(
                    "mode",
                    "policy",
                    "who moves the robot: the policy or the simulator's expert",
                    ("policy", "expert"),
                ),
                _CHECKPOINT,
                Argument("instruction", "", "what the policy is told in every trial; empty: each scene's own words"),
                _DEVICE,
                _THREADS,
                _RUNTIME,
                _PRECISION,
                _ZEROED,
                _RATE,
                _SCALE,
                Argument("plan", "", "file of the trial plan; empty: the one published for the task"),
                Argument("trials", 0, "number of trials; 0: the whole plan"),
                Argument("first_seed", -1, "seed of the first trial, the others follow; -1: the trial plan"),
                _VARIATIONS,
                Argument("time_limit_s", 0.0, "a trial without success ends after this time, in s; 0: the task's own"),
                Argument("results", "out/evaluation", "folder of results.json"),
                Argument("episodes", "", "folder of recorded episodes; empty: nothing is recorded"),
                _DIAGNOSTICS,
                *_GUARDS,
            ),
            _evaluate_graph,
        ),
    )
}
