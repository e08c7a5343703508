"""What becomes of motion where chunks meet, by strategy.

    python benchmarks/chunk_aggregation.py [--trials 10]  # a policy whose answers are known: two_ways.py
    python benchmarks/chunk_aggregation.py --checkpoint DIR [--trials 18]  # a trained policy in the simulator

The player, the delays and the chunks in flight are those of the robot; latencies are replayed from lists.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import two_ways
from activemimic_control.controller import Controller
from activemimic_description.contract import load_contract
from activemimic_description.robot import load_robot
from activemimic_rollout.agents.agents import CheckpointPolicy, Serving
from activemimic_rollout.agents.latency import Latencies
from activemimic_rollout.lockstep import LockstepRobot
from activemimic_rollout.trials.trial_plan import PlannedTrial, published_plan
from activemimic_sim.tasks import make_task
from activemimic_sim.world.simulation import Simulation
from chunk_transitions import Run, figures
from rich.console import Console
from rich.table import Table

# Strategy -> what the policy does, what the player does.
STRATEGIES = {
    "replace": ("replace", "replace"),
    "temporal_ensemble": ("replace", "temporal_ensemble"),
    "temporal_smoothing": ("replace", "temporal_smoothing"),
    "rtc_trained": ("rtc_trained", "replace"),
    "rtc_guided": ("rtc_guided", "replace"),
}
_STEADY = [55.0, 60.0, 62.0, 58.0, 60.0, 65.0]
LATENCIES = {
    "steady 60 ms": Latencies(_STEADY),
    "spikes to 400 ms": Latencies([*_STEADY, 150.0, *_STEADY, 400.0, 60.0, 60.0, 250.0]),
    "dropped chunks": Latencies([60.0, 60.0, None, 60.0, 60.0, 60.0, None, None, 60.0, 60.0]),
    "cold start 2 s": Latencies(_STEADY, first_ms=2000.0),
}
CONTROL_HZ = 100  # in the simulator, as on the robot
# Of a policy on two CPU cores beside the simulator: 1 to 2 steps of 0.1 s.
SIMULATOR_LATENCIES = Latencies([105.0, 120.0, 150.0, 110.0, 195.0, 130.0, 115.0, 170.0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="a trained policy's folder: try it in the simulator")
    parser.add_argument("--task", default="reaching")
    parser.add_argument("--trials", type=int, default=None, help="default: 10, or 18 in the simulator")
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument(
        "--replan-s", type=float, help="in the simulator; default: the checkpoint's execution_horizon / fps"
    )
    arguments = parser.parse_args()
    console = Console(highlight=False, width=max(Console().width, 150))
    if arguments.checkpoint:
        rows = {
            name: in_simulator(
                arguments.checkpoint,
                arguments.task,
                arguments.trials or 18,
                *STRATEGIES[name],
                arguments.inference_period_s,
            )
            for name in arguments.strategies
        }
        show(console, f"{arguments.task}, {Path(arguments.checkpoint).name}, 105 to 195 ms", rows)
        return
    for title, latencies in LATENCIES.items():
        strategies = {
            "straight lines": ("replace", "linear"),
            **{name: STRATEGIES[name] for name in arguments.strategies},
        }
        rows = {
            name: [two_ways.trial(seed, latencies, *joins) for seed in range(arguments.trials or 10)]
            for name, joins in strategies.items()
        }
        show(console, title, rows)


def show(console: Console, title: str, rows: dict[str, list[Run]]) -> None:
    found = {name: figures(runs) for name, runs in rows.items()}
    table = Table("strategy", *next(iter(found.values())), title=title)
    for name, row in found.items():
        table.add_row(name, *row.values())
    console.print(table)


def in_simulator(
    checkpoint: str, task: str, trials: int, rtc_mode: str, player_aggregation: str, inference_period_s: float | None
) -> list[Run]:
    """The first trials of the task's published plan, in lock-step, with latencies."""
    contract = load_contract("g1_sim")
    robot = LockstepRobot(Simulation(load_robot(contract.robot), make_task(task)), CONTROL_HZ)
    config = replace(robot.controller.config, chunk_aggregation=player_aggregation)
    robot.controller = Controller(robot.simulation.robot, config)
    sizes = {name: (camera.height, camera.width) for name, camera in contract.cameras.items()}
    runs: list[Run] = []
    kinds: Counter[str] = Counter()
    with robot.cameras(sizes) as cameras:
        agent = CheckpointPolicy(robot, cameras, contract, checkpoint, Serving(SIMULATOR_LATENCIES, rtc_mode))
        if inference_period_s is not None:
            agent.period_ticks = round(robot.rate_hz * inference_period_s)
        for planned in published_plan(task).first(trials).trials:
            runs.append(_trial(robot, agent, planned))
            kinds += agent.rtc.counters
            kinds += Counter({k: n for k, n in robot.controller.counters.items() if k.startswith("rejected_")})
    print(f"{rtc_mode}, {player_aggregation}: {dict(kinds)}, load {os.getloadavg()[0]:.1f}", flush=True)
    return runs


def _trial(robot: LockstepRobot, agent: CheckpointPolicy, planned: PlannedTrial) -> Run:
    robot.reset(planned.seed, planned.cell)
    agent.reset(planned.seed)
    # Grippers are latched, and the slow lift is asked for more than its 0.1 m/s: what it does is the limiter's doing.
    slots = robot.simulation.robot.slots
    moving = [k for k, slot in enumerate(slots) if not slot.is_gripper and slot.name != "waist_lift"]
    run = Run(robot.rate_hz, robot.simulation.robot.velocity[moving])
    limit_s = robot.simulation.task.time_limit_s
    while True:
        if (chunk := agent.chunk_due()) is not None and robot.play(chunk, agent.source).accepted:
            run.joins.append(len(run.commands))
        tick = robot.tick()
        run.pauses += bool(run.joins) and tick.command.mode == "holding"
        run.commands.append(tick.command.positions[moving])
        run.measured.append(tick.measured[moving])
        if tick.status.success or tick.status.failure or robot.simulation.time_s > limit_s:
            run.success, run.time_s = tick.status.success, robot.simulation.time_s
            return run


if __name__ == "__main__":
    main()
