"""The policy of SROS 2 is what the nodes do: nothing is missing in it, and nothing is allowed that they do not use."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from activemimic_bringup.launching.graph import GRAPHS, enclave
from activemimic_bringup.launching.processes import RunningGraph
from activemimic_bringup.launching.security import Access, accesses, policy_xml
from activemimic_bringup.monitor.watcher import Watcher
from activemimic_bringup.nodes.ros_client import RosClient
from activemimic_description.contract import load_contract

from .checkpoints import untrained_checkpoint
from .conftest import World, wait_until

CONTRACT = load_contract("g1_sim")
POLICY = accesses(CONTRACT)
# Only on the newer of the distributions that this runs on.
SOMETIMES = {"get_type_description"}


def seen(node: Any, name: str) -> Access:
    """What a node does, as another sees it in the graph."""
    look = (
        node.get_publisher_names_and_types_by_node,
        node.get_subscriber_names_and_types_by_node,
        node.get_service_names_and_types_by_node,
        node.get_client_names_and_types_by_node,
    )
    try:
        return Access(*(frozenset(entry for entry, _ in names(name, "/")) for names in look))
    except Exception:  # rclpy's, of a node that is not known yet
        return Access()


def without_sometimes(access: Access) -> Access:
    serves = frozenset(name for name in access.serves if name.rpartition("/")[2] not in SOMETIMES)
    return Access(access.publishes, access.subscribes, serves, access.calls)


def assert_is(world: World, name: str) -> None:
    wanted = without_sometimes(POLICY[name])
    wait_until(
        lambda: without_sometimes(seen(world.node, name)) == wanted,
        f"{name} to do what the policy allows, ",
        20.0,
        lambda: f"{wanted}\nfound {seen(world.node, name)}",
    )


@contextmanager
def running(world: World, name: str, **texts: str) -> Iterator[tuple[RunningGraph, list[str]]]:
    lines: list[str] = []
    environment = {"ROS_DOMAIN_ID": str(world.domain)}
    specs = GRAPHS[name].specs(texts)
    with RunningGraph(specs, lambda node, line: lines.append(f"{node}: {line}"), environment) as graph:
        yield graph, lines


def test_the_policy_allows_what_the_nodes_of_a_graph_do_and_nothing_more(world: World, tmp_path: Path) -> None:
    checkpoint = untrained_checkpoint(tmp_path / "checkpoint", CONTRACT)
    with running(world, "sim", checkpoint=str(checkpoint), out=str(tmp_path / "episodes")) as (_, lines):
        for node in ("sim", "controller", "policy", "recorder"):
            wait_until(lambda node=node: any(f"[{node}]: ready" in line for line in lines), f"{node}: {lines}")
            assert_is(world, node)


def test_the_policy_allows_what_the_evaluator_does_and_nothing_more(world: World, tmp_path: Path) -> None:
    checkpoint = untrained_checkpoint(tmp_path / "checkpoint", CONTRACT)
    found: list[Access] = []

    def look(stop: threading.Event) -> None:
        while not stop.wait(0.1):
            found.append(seen(world.node, "evaluator"))

    for mode in ("policy", "expert"):
        stop = threading.Event()
        looking = threading.Thread(target=look, args=(stop,))
        texts = {"mode": mode, "checkpoint": str(checkpoint), "trials": "1", "time_limit_s": "2.0"}
        folders = {"results": str(tmp_path / mode), "episodes": str(tmp_path / mode)}
        with running(world, "evaluate", **texts, **folders) as (graph, lines):
            looking.start()
            assert graph.wait(until_ends="evaluator", timeout_s=90.0) == 0, lines
            stop.set()
            looking.join()
    used = Access(
        *(
            frozenset().union(*(getattr(access, kind) for access in found))
            for kind in ("publishes", "subscribes", "serves", "calls")
        )
    )
    # Without a key it calls /controller/arm and /controller/run, with one it does not.
    keyless = {"/controller/arm", "/controller/run"}
    wanted = without_sometimes(POLICY["evaluator"])
    assert without_sometimes(used) == Access(wanted.publishes, wanted.subscribes, wanted.serves, wanted.calls - keyless)


def test_the_policy_allows_what_the_tools_do(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(world.domain))
    with Watcher("g1_sim") as watcher:
        watcher.listen(0.1)
        assert_is(world, "top")
    before = seen(world.node, "test")
    RosClient(world.node, 1.0)
    assert seen(world.node, "test").subscribes - before.subscribes == POLICY["operator"].subscribes
    assert POLICY["operator"].subscribes == POLICY["record_keys"].subscribes == POLICY["evaluator"].subscribes


def test_only_the_controller_may_command_and_only_who_has_to_may_set_its_parameters() -> None:
    (sink,) = CONTRACT.commands
    assert [name for name, access in POLICY.items() if sink.topic in access.publishes] == ["controller"]
    callers = [name for name, access in POLICY.items() if "/controller/set_parameters" in access.calls]
    assert callers == ["evaluator", "operator"]
    assert [name for name, access in POLICY.items() if "/activemimic/chunk" in access.publishes] == ["policy"]


def test_the_file_is_a_policy_of_sros_2_with_an_enclave_for_every_node() -> None:
    root = ElementTree.fromstring(policy_xml(CONTRACT))
    assert (root.tag, root.attrib) == ("policy", {"version": "0.2.0"})
    enclaves = root.findall("enclaves/enclave")
    assert [entry.get("path") for entry in enclaves] == [enclave(name) for name in POLICY]
    for entry, (name, access) in zip(enclaves, POLICY.items(), strict=True):
        profile = entry.find("profiles/profile")
        assert profile is not None
        assert profile.attrib == {"ns": "/", "node": name}
        for kind, how, names in (
            ("topics", "publish", access.publishes),
            ("topics", "subscribe", access.subscribes),
            ("services", "reply", access.serves),
            ("services", "request", access.calls),
        ):
            assert {found.text for found in profile.findall(f"{kind}[@{how}='ALLOW']/*")} == names


def test_a_node_without_its_enclave_does_not_start_and_says_so_in_one_line(world: World, tmp_path: Path) -> None:
    """With security enforced; where the DDS has none built in, no node starts, whatever its keystore."""
    node = [sys.executable, "-m", "activemimic_bringup.nodes.controller_node"]
    security = {"ROS_SECURITY_ENABLE": "true", "ROS_SECURITY_STRATEGY": "Enforce"}
    ended = subprocess.run(
        [*node, "--ros-args", "--enclave", "/activemimic/a"],
        env={**os.environ, **security, "ROS_SECURITY_KEYSTORE": str(tmp_path), "ROS_DOMAIN_ID": str(world.domain)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert "error: SROS 2: " in ended.stderr
    assert "Traceback" not in ended.stderr
