"""Who may do what: strangers on the robot's computer and on another one try it, with the key and without.

The other computer is a network namespace with an address, a host name and shared memory of its own.
With ACCESS_TABLE=FILE what they found is written there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from activemimic_bringup.launching.graph import FASTDDS_PROFILE
from activemimic_bringup.nodes.operator_key import controllers_key
from activemimic_description.contract import load_contract

from .checkpoints import untrained_checkpoint
from .conftest import wait_until

INTRUDER = Path(__file__).with_name("intruder.py")
ROBOT, OTHER = "activemimic-robot", "activemimic-other"
DOMAIN = "77"  # of networks that exist for this test alone

Found = dict[str, str]


def ip(*words: str) -> bool:
    return subprocess.run(["ip", *words], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def computers() -> Iterator[None]:
    """Two, with a cable between them."""
    for name in (ROBOT, OTHER):
        with suppress(FileNotFoundError):
            ip("netns", "delete", name)
    try:
        made = all(ip("netns", "add", name) for name in (ROBOT, OTHER))
    except FileNotFoundError:
        made = False
    if not made:
        pytest.skip("this user may not make network namespaces (ip netns add)")
    try:
        assert ip("link", "add", "am_robot", "netns", ROBOT, "type", "veth", "peer", "name", "am_other", "netns", OTHER)
        for number, (name, link) in enumerate(((ROBOT, "am_robot"), (OTHER, "am_other")), start=1):
            assert ip("-n", name, "address", "add", f"10.77.0.{number}/24", "dev", link)
            assert ip("-n", name, "link", "set", "lo", "up")
            assert ip("-n", name, "link", "set", link, "up")
            assert ip("-n", name, "route", "add", "default", "dev", link)
        yield
    finally:
        for name in (ROBOT, OTHER):
            ip("netns", "delete", name)


def at(computer: str, words: list[str]) -> list[str]:
    """The command on that computer: its network, its host name, its shared memory."""
    alone = 'mount -t tmpfs tmpfs /dev/shm && hostname $0 && exec "$@"'
    return ["ip", "netns", "exec", computer, "unshare", "--mount", "--uts", "sh", "-c", alone, computer, *words]


def environment(**more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if name != "ROS_AUTOMATIC_DISCOVERY_RANGE"}
    return {**clean, "ROS_DOMAIN_ID": DOMAIN, "FASTRTPS_DEFAULT_PROFILES_FILE": str(FASTDDS_PROFILE), **more}


@contextmanager
def robot(log: Path, *arguments: str) -> Iterator[str]:
    """`activemimic up sim` on the robot's computer; yields how to enter that from beside it."""
    words = [sys.executable, "-m", "activemimic_bringup.cli.main", "up", "sim", "running:=false", *arguments]
    with log.open("w") as file:
        child = subprocess.Popen(at(ROBOT, words), env=environment(), stdout=file, stderr=subprocess.STDOUT)
    try:
        ready = [f"[{node}]: ready" for node in ("sim", "controller", "policy", "recorder")]

        def is_ready() -> bool:
            assert child.poll() is None, log.read_text()
            return all(text in log.read_text() for text in ready)

        wait_until(is_ready, "the robot", 60.0, log.read_text)
        yield str(child.pid)
    finally:
        child.terminate()
        child.wait(timeout=30.0)


def beside(pid: str, *words: str) -> Found:
    """What an intruder finds on the robot's own computer."""
    return _tried(["nsenter", "-t", pid, "--mount", "--net", "--uts"], words)


def elsewhere(*words: str) -> Found:
    """What an intruder finds on the other computer."""
    return _tried(at(OTHER, []), words)


def _tried(prefix: list[str], words: tuple[str, ...]) -> Found:
    done = subprocess.run(
        [*prefix, sys.executable, str(INTRUDER), *words],
        env=environment(ROS_AUTOMATIC_DISCOVERY_RANGE="SUBNET"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def write(title: str, found: Found) -> None:
    if target := os.environ.get("ACCESS_TABLE"):
        with Path(target).open("a") as file:
            file.write(f"\n## {title}\n\n")
            file.writelines(f"- {what}: {came}\n" for what, came in (found or {"finds": "nobody"}).items())


def assert_without_key(found: Found) -> None:
    assert found["arm"].startswith("operator key /nowhere: No such file")
    assert found["arm by its service"].endswith("the operator key is asked for: activemimic robot arm")
    assert found["run"].startswith("operator key /nowhere: No such file")
    assert_open(found)


def assert_open(found: Found) -> None:
    """What is everybody's who is in the domain, and what is nobody's."""
    assert (found["hold"], found["stop"], found["reset"]) == ("done", "done", "done")
    assert (found["policy instruction"], found["record"], found["discard"]) == ("done", "done", "done")
    assert "expected it below" in found["policy checkpoint"]
    assert "expected a name" in found["recorder task"]
    assert "read-only" in found["controller use_sim_time"]
    assert "read-only" in found["controller max_lead_rad"]
    for topic in ("/activemimic/chunk", "/activemimic/teleop"):
        assert found[topic] == "heard"


def test_who_may_do_what(computers: None, tmp_path: Path) -> None:
    checkpoint = untrained_checkpoint(tmp_path / "checkpoint", load_contract("g1_sim"))
    common = (f"checkpoint:={checkpoint}", f"out:={tmp_path / 'episodes'}")
    controllers_key("")
    key = str(Path(os.environ["XDG_CONFIG_HOME"]) / "activemimic" / "operator_key")

    with robot(tmp_path / "log", *common) as pid:
        write("another computer, as it is started", found := elsewhere())
        assert found == {}
        write("this computer, without the key", found := beside(pid))
        assert_without_key(found)
        write("this computer, with the key", found := beside(pid, key, "--command"))
        assert (found["arm"], found["run"]) == ("done", "done")
        assert_open(found)
        assert found["/joint_command"] == "moved"

    with robot(tmp_path / "log", *common, "discovery:=subnet") as pid:
        write("another computer, discovery:=subnet, without the key", found := elsewhere("--command"))
        assert_without_key(found)
        assert found["/joint_command"] == "moved"

    with robot(tmp_path / "log", *common, "operator_key_file:=off") as pid:
        write("this computer, operator_key_file:=off", found := beside(pid))
        assert (found["arm"], found["run"]) == ("done", "done")
        assert_open(found)
