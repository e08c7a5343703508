"""What the simulator costs: one core's share at 30 Hz in real time, and headless demonstrations a minute.

    python benchmarks/simulation.py [--task reaching] [--seconds 10] [--episodes 8]

CPU time is counted, not wall time, so that other work on the machine disturbs little; its load is printed all the same.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from activemimic_description.codec import encode_image
from activemimic_description.contract import load_contract
from activemimic_description.messages import BagMessages
from activemimic_description.robot import load_robot
from activemimic_rollout.synchronous.demonstrations import DemonstrationPlan, generate
from activemimic_sim.experts import make_expert
from activemimic_sim.experts.expert import STEP_S
from activemimic_sim.tasks import TASKS, make_task
from activemimic_sim.world.simulation import Simulation
from rich.console import Console
from rich.table import Table

RATE_HZ = 30
WARM_UP = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=sorted(TASKS), default="reaching")
    parser.add_argument("--seconds", type=float, default=10.0, help="simulated, of the expert's trial")
    parser.add_argument("--episodes", type=int, default=8)
    arguments = parser.parse_args()

    console = Console(highlight=False)
    console.print(f"load before: {', '.join(f'{load:.2f}' for load in os.getloadavg())} on {os.cpu_count()} cores")
    parts = ticks(arguments.task, round(arguments.seconds * RATE_HZ))
    table = Table("part of a tick", "median ms", "p90 ms", "share of a core", title=f"{arguments.task}, {RATE_HZ} Hz")
    total = np.sum(list(parts.values()), axis=0)
    for name, times_ms in {**parts, "all": total}.items():
        share = np.mean(times_ms) * RATE_HZ / 1e3
        table.add_row(name, f"{np.median(times_ms):.2f}", f"{np.percentile(times_ms, 90):.2f}", f"{share:.0%}")
    console.print(table)

    for camera_hz in (30, 10):
        cpu_s = demonstrations(arguments.task, arguments.episodes, camera_hz)
        console.print(
            f"headless demonstrations, cameras at {camera_hz} Hz: {60 / np.median(cpu_s):.1f} a minute a core "
            f"(median {np.median(cpu_s):.2f} s CPU, {min(cpu_s):.2f} to {max(cpu_s):.2f})"
        )


def ticks(task: str, count: int) -> dict[str, np.ndarray]:
    """CPU ms of every tick of the expert's trial, by part; the first second is left out."""
    contract = load_contract("g1_sim")
    simulation = Simulation(load_robot(contract.robot), make_task(task))
    sizes = {name: (camera.height, camera.width) for name, camera in contract.cameras.items()}
    messages = BagMessages()
    simulation.reset(0)
    expert = make_expert(simulation, 0)
    parts: dict[str, list[float]] = {"expert": [], "physics and verdict": [], "three cameras": [], "JPEG": []}
    every = round(STEP_S * RATE_HZ)
    with simulation.cameras(sizes) as cameras:

        def physics(tick: int) -> None:
            simulation.advance_to((tick + 1) / RATE_HZ)
            simulation.status()

        for tick in range(count + WARM_UP):
            command = (lambda: simulation.command(expert.act())) if tick % every == 0 else (lambda: None)
            images: dict[str, np.ndarray] = {}
            parts["expert"].append(cpu_ms(command))
            parts["physics and verdict"].append(cpu_ms(lambda tick=tick: physics(tick)))
            parts["three cameras"].append(cpu_ms(lambda images=images: images.update(cameras.render(simulation.data))))
            parts["JPEG"].append(
                cpu_ms(
                    lambda images=images: [
                        encode_image(contract.cameras[name], image, 0, messages) for name, image in images.items()
                    ]
                )
            )
    return {name: np.array(times[WARM_UP:]) for name, times in parts.items()}


def demonstrations(task: str, episodes: int, camera_hz: int) -> list[float]:
    """CPU seconds of every episode but the first, which makes the scene and the OpenGL context."""
    plan = DemonstrationPlan(task, camera_hz=camera_hz, late_starts=0.0)
    ended_s: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        seeds = list(range(episodes + 1))
        generate(plan, Path(folder), seeds, workers=1, progress=lambda _: ended_s.append(time.process_time()))
    return np.diff(ended_s).tolist()


def cpu_ms(work: Callable[[], object]) -> float:
    started_s = time.process_time()
    work()
    return 1e3 * (time.process_time() - started_s)


if __name__ == "__main__":
    main()
