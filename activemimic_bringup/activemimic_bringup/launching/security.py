"""What each node says, hears, serves and calls, and the policy of SROS 2 that allows just this."""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from activemimic_description.contract import Contract
from activemimic_description.stack_topics import (
    ARM,
    CHALLENGE,
    CHUNK,
    CONTROL,
    CONTROLLER_HOLD,
    CONTROLLER_RESET,
    DEADMAN,
    DIAGNOSTICS,
    HEARTBEAT,
    INFERENCE,
    POLICY_STATE,
    RECORDER_DISCARD,
    RECORDER_START,
    RECORDER_STOP,
    RUN,
    SHADOW,
    SIM_EXPERT,
    SIM_RESET,
    STOP_ROBOT,
    TASK,
    TELEOP,
    TIMING,
    TOPICS,
    Service,
    Topic,
)

from activemimic_bringup.launching.graph import enclave

_EVERY_NODE_SERVES = (
    "describe_parameters",
    "get_parameter_types",
    "get_parameters",
    "get_type_description",
    "list_parameters",
    "set_parameters",
    "set_parameters_atomically",
)
_MANAGED_NODE_SERVES = (
    "change_state",
    "get_available_states",
    "get_available_transitions",
    "get_state",
    "get_transition_graph",
)
_REPORTS = (TASK, DIAGNOSTICS)  # that every node hears which calls others (nodes/ros_client.py)


@dataclass(frozen=True)
class Access:
    """Names of the topics that one node publishes and subscribes, of the services that it serves and calls."""

    publishes: frozenset[str] = frozenset()
    subscribes: frozenset[str] = frozenset()
    serves: frozenset[str] = frozenset()
    calls: frozenset[str] = frozenset()


def accesses(contract: Contract) -> dict[str, Access]:
    """What every node does, by its name. `robot` stands for the driver, `teleoperator` for what publishes targets."""
    cameras = [camera.topic for camera in contract.cameras.values()]
    state = [source.topic for source in contract.state]
    commands = [sink.topic for sink in contract.commands]
    return {
        "controller": _node(
            "controller",
            publishes=(*commands, SHADOW, CONTROL, TIMING, DIAGNOSTICS),
            subscribes=(*state, CHUNK, TELEOP, HEARTBEAT, DEADMAN),
            serves=(ARM, CHALLENGE, RUN, CONTROLLER_HOLD, STOP_ROBOT, CONTROLLER_RESET),
        ),
        "policy": _node(
            "policy",
            publishes=(CHUNK, INFERENCE, HEARTBEAT, DIAGNOSTICS, "/policy/transition_event"),
            subscribes=(*cameras, *state),
            serves=[f"/policy/{name}" for name in _MANAGED_NODE_SERVES],
        ),
        "recorder": _node(
            "recorder",
            publishes=(DIAGNOSTICS,),
            subscribes=(*cameras, *state, *commands, *TOPICS),
            serves=(RECORDER_START, RECORDER_STOP, RECORDER_DISCARD),
        ),
        "evaluator": _node(
            "evaluator",
            subscribes=_REPORTS,
            calls=(
                *(f"/{node}/set_parameters" for node in ("controller", "policy", "recorder", "sim")),
                *(ARM, CHALLENGE, RUN, CONTROLLER_HOLD, CONTROLLER_RESET),
                *("/policy/get_state", POLICY_STATE),
                *(RECORDER_START, RECORDER_STOP, SIM_RESET, SIM_EXPERT),
            ),
        ),
        "sim": _node(
            "sim",
            publishes=(*cameras, *state, TASK, TELEOP, DIAGNOSTICS),
            subscribes=commands,
            serves=(SIM_RESET, SIM_EXPERT),
        ),
        "robot": _node("robot", publishes=(*cameras, *state), subscribes=commands),
        "teleoperator": _node("teleoperator", publishes=(TELEOP, DEADMAN), subscribes=state),
        "operator": _node(
            "operator",
            subscribes=_REPORTS,
            calls=(ARM, CHALLENGE, RUN, CONTROLLER_HOLD, STOP_ROBOT, CONTROLLER_RESET, "/controller/set_parameters"),
        ),
        "record_keys": _node(
            "record_keys",
            subscribes=_REPORTS,
            calls=(RECORDER_START, RECORDER_STOP, RECORDER_DISCARD, "/recorder/set_parameters"),
        ),
        "top": _node("top", subscribes=(*cameras, DIAGNOSTICS, CONTROL, INFERENCE, TIMING)),
    }


def policy_xml(contract: Contract) -> str:
    """A policy of SROS 2 (version 0.2.0) with an enclave for every node, for `ros2 security generate_artifacts`."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<policy version="0.2.0">', "  <enclaves>"]
    for node, access in accesses(contract).items():
        lines += [
            f"    <enclave path={quoteattr(enclave(node))}>",
            "      <profiles>",
            f'        <profile ns="/" node={quoteattr(node)}>',
            *_allowed("topics", "publish", access.publishes),
            *_allowed("topics", "subscribe", access.subscribes),
            *_allowed("services", "reply", access.serves),
            *_allowed("services", "request", access.calls),
            "        </profile>",
            "      </profiles>",
            "    </enclave>",
        ]
    return "\n".join([*lines, "  </enclaves>", "</policy>", ""])


_Names = list[str] | tuple[str | Topic | Service, ...]


def _node(
    name: str, *, publishes: _Names = (), subscribes: _Names = (), serves: _Names = (), calls: _Names = ()
) -> Access:
    """With what every node does: its log, its parameters."""
    return Access(
        publishes=_texts(publishes) | {"/rosout", "/parameter_events"},
        subscribes=_texts(subscribes),
        serves=_texts(serves) | {f"/{name}/{service}" for service in _EVERY_NODE_SERVES},
        calls=_texts(calls),
    )


def _texts(names: _Names) -> frozenset[str]:
    return frozenset(name if isinstance(name, str) else name.name for name in names)


def _allowed(kind: str, how: str, names: frozenset[str]) -> list[str]:
    if not names:
        return []
    one = kind.removesuffix("s")
    entries = [f"            <{one}>{escape(name)}</{one}>" for name in sorted(names)]
    return [f'          <{kind} {how}="ALLOW">', *entries, f"          </{kind}>"]
