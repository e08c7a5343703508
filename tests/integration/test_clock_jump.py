"""The clock of the stamps is set while the controller runs: it holds, says by how much, and its timers go on."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from activemimic_description.contract import load_contract
from activemimic_description.messages import RosMessages, header, ros_class
from activemimic_description.robot import load_robot
from diagnostic_msgs.msg import DiagnosticStatus
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger

from .conftest import World, wait_until

CONTRACT = load_contract("g1_sim")
HOME = load_robot("g1").home


class SetClock:
    """Publishes /clock, whose hands the test moves, and a robot's joint states by it."""

    def __init__(self, world: World) -> None:
        self.ahead_s = 0.0
        self._node = world.node
        (source,) = CONTRACT.state
        self._raw = (HOME[source.indices] - source.offset) / source.gain
        self._source, self._messages = source, RosMessages()
        self._clock = world.node.create_publisher(Clock, "/clock", 1)
        self._states = world.node.create_publisher(ros_class(source.type), source.topic, 10)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._done.set()
        self._thread.join()
        for publisher in (self._clock, self._states):
            self._node.destroy_publisher(publisher)

    def _run(self) -> None:
        ticks = 0
        while not self._done.wait(0.004):
            now_ns = int(1e9 * (time.monotonic() + self.ahead_s))
            message: Any = Clock()
            message.clock.sec, message.clock.nanosec = divmod(now_ns, 1_000_000_000)
            self._clock.publish(message)
            ticks += 1
            if ticks % 5 == 0:
                names = [field.name for field in self._source.fields]
                stamped = header(now_ns)
                self._states.publish(
                    self._messages.make(self._source.type, header=stamped, name=names, position=self._raw)
                )


@pytest.mark.parametrize("jump_s", [5.0, -3.0])
def test_a_clock_that_jumps_makes_the_controller_hold(world: World, jump_s: float) -> None:
    clock = SetClock(world)
    said: list[str] = []
    listening = world.node.create_subscription(
        DiagnosticStatus, "/activemimic/control", lambda message: said.append(message.message), 100
    )
    controller = world.start("controller", use_sim_time=True)
    try:
        for word in ("arm", "run"):
            wait_until(lambda word=word: world.call(Trigger, f"/controller/{word}").success, f"the word {word}")
        begin = time.monotonic()
        clock.ahead_s += jump_s
        wait_until(lambda: any("the clock jumped by" in text for text in said), "the jump to be noticed", 5.0)
        assert time.monotonic() - begin < 0.5
        assert world.call(Trigger, "/controller/hold").success  # it is alive, whatever the clock says
    finally:
        controller.end()
        clock.close()
        world.node.destroy_subscription(listening)
