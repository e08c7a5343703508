"""Time of the collision guard's answers, in ms.

    python benchmarks/collision_guard.py [--runs 3000]

`free` are motions about the home posture, as in work. `anywhere` are motions between random postures, many of which
are stopped: every distance is computed then.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from activemimic_control.collision import CollisionGuard
from activemimic_description.capsules import CapsuleModel
from activemimic_description.robot import load_robot
from rich.console import Console
from rich.table import Table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3000)
    runs = parser.parse_args().runs

    robot = load_robot("g1")
    guard, model = CollisionGuard(robot), CapsuleModel(robot)
    rng = np.random.default_rng(0)
    near_home = np.clip(robot.home + 0.05 * rng.normal(size=(runs, 2, len(robot.slots))), robot.lower, robot.upper)
    start = rng.uniform(robot.lower, robot.upper, (runs, len(robot.slots)))
    anywhere = np.stack([start, np.clip(start + 0.1 * rng.normal(size=start.shape), robot.lower, robot.upper)], axis=1)
    table = Table("", "p50", "p99", "stopped", title="ms")
    for name, motions in (("check, free", near_home), ("check, anywhere", anywhere)):
        times, answers = timed(guard.check, motions)
        table.add_row(name, *percentiles(times), f"{np.mean([bool(answer) for answer in answers]):.0%}")
    for name, function in (("distances", guard.distances), ("kinematics", model.ends)):
        times, _ = timed(function, start[:, None])
        table.add_row(name, *percentiles(times), "")
    Console().print(table)


def timed(function: Callable[..., Any], arguments: np.ndarray) -> tuple[list[float], list[Any]]:
    """Times (ms) and answers of a function, called with each of the rows."""
    times, answers = [], []
    for row in arguments:
        begin = time.perf_counter()
        answers.append(function(*row))
        times.append(1000 * (time.perf_counter() - begin))
    return times, answers


def percentiles(times_ms: list[float]) -> list[str]:
    return [f"{np.percentile(times_ms, share):.2f}" for share in (50, 99)]


if __name__ == "__main__":
    main()
