"""Real nodes in processes of their own; every test file has a ROS domain to itself."""

from __future__ import annotations

import fcntl
import itertools
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2: rclpy is not importable")

from activemimic_bringup.launching.graph import NodeSpec, shared_environment  # noqa: E402
from activemimic_bringup.launching.processes import command_line  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.update(shared_environment())

PATIENCE_S = 60.0  # other work on the machine makes it slow; only what never comes costs so long


class Process:
    """A node as a child process, and what it has printed."""

    def __init__(self, spec: NodeSpec, domain: int) -> None:
        self.name = spec.name
        self.lines: list[str] = []
        self._child = subprocess.Popen(
            command_line(spec),
            env={**os.environ, **spec.environment, "ROS_DOMAIN_ID": str(domain), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, words: str) -> None:
        wait_until(lambda: words in self.text or self._child.poll() is not None, f"{self.name} to print {words!r}")
        assert words in self.text, f"{self.name} ended with {self._child.poll()}:\n{self.text}"

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal and return the exit code."""
        if self._child.poll() is None:
            self._child.send_signal(number)
        return self.ended()

    def signal(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def catches(self, number: signal.Signals) -> bool:
        """Whether the process has a handler of its own for a signal."""
        status = Path(f"/proc/{self._child.pid}/status").read_text()
        (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
        return bool(int(mask, 16) >> (number - 1) & 1)

    def memory_mb(self) -> float:
        """Memory that the process holds now."""
        status = Path(f"/proc/{self._child.pid}/status").read_text()
        (kib,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(kib) / 1024

    def ended(self) -> int:
        """The exit code, once the process has ended by itself."""
        try:
            code = self._child.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            raise AssertionError(f"{self.name} did not end; it printed:\n{self.text}") from None
        self._reader.join(timeout=2.0)
        return code

    def kill(self) -> None:
        self._child.kill()
        self._child.wait()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self.lines.append(line.rstrip("\n"))


class World:
    """One ROS domain: starts nodes in it and holds a node of the test's own, which spins all the time."""

    def __init__(self, domain: int) -> None:
        self.domain = domain
        self.processes: list[Process] = []
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.node = rclpy.create_node("test", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._clients: dict[str, Any] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def start(self, name: str, **parameters: Any) -> Process:
        """Start a node of activemimic_bringup and wait until it is ready."""
        process = self.launch(name, **parameters)
        process.wait_for("ready")
        return process

    def launch(self, name: str, **parameters: Any) -> Process:
        if name == "controller":
            parameters = {"operator_key_file": "off", **parameters}
        module = f"activemimic_bringup.nodes.{name}_node"
        spec = NodeSpec(name, "activemimic_bringup", f"{name}_node", module, parameters)
        process = Process(spec, self.domain)
        self.processes.append(process)
        return process

    def call(self, service_type: Any, service: str, **request: Any) -> Any:
        if service not in self._clients:  # each one more is one more to wait for in every spin
            self._clients[service] = self.node.create_client(service_type, service)
        client = self._clients[service]
        assert client.wait_for_service(timeout_sec=PATIENCE_S), f"{service} is not there"
        # A server that has just been started may be known here before it knows this client: its answer is lost then.
        for patience_s in (PATIENCE_S / 6, PATIENCE_S):
            future = client.call_async(service_type.Request(**request))
            with suppress(AssertionError):
                wait_until(future.done, f"an answer of {service}", patience_s)
                return future.result()
            client.remove_pending_request(future)
        raise AssertionError(f"waited {PATIENCE_S:g} s for an answer of {service}")

    def now_ns(self) -> int:
        return int(self.node.get_clock().now().nanoseconds)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
        self._stopping.set()
        self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def _spin(self) -> None:
        while not self._stopping.is_set():
            self._executor.spin_once(timeout_sec=0.05)


def wait_until(
    condition: Callable[[], bool], what: str, timeout_s: float = PATIENCE_S, found: Callable[[], str] = str
) -> None:
    """Return as soon as `condition` holds; fail saying `what` was waited for, and what was `found` in its place."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s for {what}{found()}"
        time.sleep(0.01)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `-n` and `--dist loadgroup`, one worker runs all of these: they need their cores in real time."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("real_time"))


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with _free_domain() as lock:
        world = World(int(Path(lock.name).suffix[1:]))
        yield world
        world.close()


# Killed processes leave their ports of shared memory behind: no test file takes the domain of the one before.
_DOMAINS = range(43, 100)
_next_domains = itertools.islice(itertools.cycle(_DOMAINS), os.getpid() % len(_DOMAINS), None)


def _free_domain() -> Any:
    """A locked file whose suffix is a domain that no other test on this machine uses."""
    for domain in itertools.islice(_next_domains, len(_DOMAINS)):
        lock = open(Path(tempfile.gettempdir()) / f"activemimic_test_domain.{domain}", "w")  # noqa: SIM115
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            lock.close()
    raise RuntimeError(f"{len(_DOMAINS)} test runs at once: no ROS domain is free")
