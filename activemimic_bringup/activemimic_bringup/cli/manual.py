"""Episodes by keys: a terminal in front of a running recorder."""

from __future__ import annotations

import threading
from collections.abc import Callable

import rclpy
import typer
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rich.console import Console

from activemimic_bringup.nodes.ros_client import RosClient
from activemimic_bringup.nodes.topics import DISCARD, START, STOP
from activemimic_bringup.nodes.trials import TrialError

TIMEOUT_S = 5.0


def record_by_keys(task: str) -> None:
    """Ask for start, success, failure or discard, episode after episode, until q is pressed."""
    rclpy.init()
    node = rclpy.create_node("record_keys")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinning = threading.Thread(target=_spin, args=(executor,), daemon=True)
    spinning.start()
    try:
        _ask_until_quit(RosClient(node, TIMEOUT_S), task, Console(highlight=False))
    finally:
        rclpy.try_shutdown()
        spinning.join(timeout=2.0)


def _ask_until_quit(client: RosClient, task: str, console: Console) -> None:
    """Raises TrialError if the recorder is not there at the beginning; later refusals are only shown."""
    client.set_parameters("/recorder", {"task": task})
    actions: dict[str, Callable[[], str]] = {
        "s": lambda: client.trigger(START.name),
        "y": lambda: client.set_bool(STOP.name, True),
        "n": lambda: client.set_bool(STOP.name, False),
        "d": lambda: client.trigger(DISCARD.name),
    }
    console.print("[b]s[/b] start   [b]y[/b] stop, success   [b]n[/b] stop, failure   [b]d[/b] discard   [b]q[/b] quit")
    while (key := typer.getchar().lower()) != "q":
        if key not in actions:
            continue
        try:
            console.print(actions[key](), markup=False)
        except TrialError as error:
            console.print(str(error), style="red", markup=False)


def _spin(executor: SingleThreadedExecutor) -> None:
    try:
        executor.spin()
    except ExternalShutdownException:
        return
