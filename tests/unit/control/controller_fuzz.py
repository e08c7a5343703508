"""A controller under everything at once, its commands held against the limits by finite differences alone.

Robots that lag, stick, tremble and are pushed; joint states with outliers, zeros, NaN, wrong order, wrong clocks and a
second publisher; chunks of every kind; words, rivals, heartbeats, clocks that step and a computer that stalls.

    python tests/unit/control/controller_fuzz.py --commands 1000000 --workers 2
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from activemimic_control.controller import Controller, ControllerConfig
from activemimic_description.chunk import Chunk
from activemimic_description.robot import load_robot

ROBOT = load_robot("g1")
S = len(ROBOT.slots)
SPAN = ROBOT.upper - ROBOT.lower
RATES_HZ = (30, 100, 200)
ORDERS = ("velocity", "acceleration", "jerk")
EPISODE_S = 12.0


@dataclass
class Worst:
    """How many commands there were, and the largest ratio of each difference to its limit."""

    commands: int = 0
    ratios: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("position", *ORDERS), 0.0))
    counters: Counter[str] = field(default_factory=Counter)

    def add(self, path: list[np.ndarray], dt: float, scale: float) -> None:
        """Take commands (N, S) that followed one another, `dt` seconds apart; `scale` is that of the limits."""
        positions = np.array(path)
        self.commands += len(positions)
        # One that was measured outside starts there and may only come back.
        lower, upper = np.minimum(ROBOT.lower, positions[0]), np.maximum(ROBOT.upper, positions[0])
        outside = np.maximum(lower - positions, positions - upper) / SPAN
        self._note("position", 1.0 + float(outside.max()))
        for order, name in enumerate(ORDERS, start=1):
            if len(positions) > order:
                most = np.abs(np.diff(positions, order, axis=0)).max(axis=0)
                # Differences of numbers that were rounded: what that alone can make of them is let through.
                rounding = 2.0**order * 4.0 * np.spacing(np.abs(positions).max(axis=0))
                limit = np.array([getattr(slot, name) for slot in ROBOT.slots]) * scale * dt**order
                self._note(name, float((np.maximum(most - rounding, 0.0) / limit).max()))

    def join(self, other: Worst) -> None:
        self.commands += other.commands
        self.counters += other.counters
        for name, ratio in other.ratios.items():
            self._note(name, ratio)

    def _note(self, name: str, ratio: float) -> None:
        self.ratios[name] = max(self.ratios[name], ratio)


class Robot:
    """Follows its commands as the draw says, and is measured as another draw says."""

    def __init__(self, random: np.random.Generator, period_s: float) -> None:
        self.random, self.period_s = random, period_s
        self.position = np.clip(ROBOT.home + random.normal(0.0, 0.05, S), ROBOT.lower, ROBOT.upper)
        self.delay = int(random.choice([0, 1, 3, 10, 40]) * random.uniform(0.5, 1.0))
        self.share = float(random.choice([1.0, 1.0, 0.3, 0.1]))  # of the way to the command that is made in a cycle
        self.stuck = random.random(S) < random.choice([0.0, 0.0, 0.1])
        self.noise = float(random.choice([0.0, 1e-4, 1e-3, 0.01]))
        self.dirt = float(random.choice([0.0, 0.0, 0.02, 0.3]))  # share of the states in which something is wrong
        self.every = int(random.choice([1, 1, 3, 5]))  # cycles from one state to the next
        self.lag_s = float(random.choice([0.0, 0.005, 0.05]))
        self.other = np.clip(self.position + random.normal(0.0, 0.4, S), ROBOT.lower, ROBOT.upper)
        self.push = np.zeros(S)
        self.commands: list[np.ndarray] = []

    def step(self, command: np.ndarray | None) -> None:
        if command is not None:
            self.commands.append(command)
        if self.commands:
            goal = self.commands[max(0, len(self.commands) - 1 - self.delay)]
            self.position = np.where(self.stuck, self.position, self.position + self.share * (goal - self.position))
        if self.random.random() < 0.2 * self.period_s:  # somebody leans on it for a while
            self.push = np.where(self.random.random(S) < 0.15, self.random.normal(0.0, 1.5, S), 0.0)
        elif self.random.random() < 2.0 * self.period_s:
            self.push[:] = 0.0
        self.position = self.position + self.push * self.period_s

    def measured(self, now_ns: int) -> list[tuple[np.ndarray, int]]:
        """States with their stamps."""
        random, stamp_ns = self.random, now_ns - int(1e9 * self.lag_s)
        slots = self.position + random.normal(0.0, self.noise, S)
        if random.random() >= self.dirt:
            return [(slots, stamp_ns)]
        kind = random.integers(9)
        if kind == 0:  # an outlier
            slots = slots + np.where(random.random(S) < 0.1, random.normal(0.0, 1.0, S), 0.0)
        elif kind == 1:
            slots = np.zeros(S)
        elif kind == 2:
            slots = np.where(random.random(S) < 0.1, np.nan, slots)
        elif kind == 3:
            return [(slots, stamp_ns - int(random.uniform(0.0, 0.2) * 1e9))]
        elif kind == 4:
            return [(slots, stamp_ns + int(random.uniform(0.0, 2.0) * 1e9))]
        elif kind == 5:
            return [(slots, stamp_ns), (self.other, stamp_ns)]  # another publisher
        elif kind == 6:
            return []
        elif kind == 7:
            slots = ROBOT.lower - 10.0 * random.random(S)
        else:
            slots = slots + random.normal(0.0, 0.1)
        return [(slots, stamp_ns)]


class Asker:
    """Chunks of every kind, from the policy and from a teleoperator."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.goal = ROBOT.home.copy()
        self.kind = random.choice(["wave", "walk", "jump", "edge", "junk"])
        self.frequency = random.uniform(0.5, 6.0, S)
        self.amplitude = random.uniform(0.0, 0.25) * SPAN
        self.period_s = float(random.choice([0.05, 0.2, 0.4]))
        self.step_s = float(random.choice([1 / 30, 0.1, 0.01]))
        self.points = int(random.integers(2, 60))

    def chunk(self, now_ns: int, at: np.ndarray) -> Chunk:
        random, steps = self.random, np.arange(1, self.points + 1)
        due_s = now_ns / 1e9 + self.step_s * steps
        if self.kind == "wave":
            path = ROBOT.home + self.amplitude * np.sin(self.frequency * due_s[:, None])
        elif self.kind == "walk":
            self.goal = np.clip(self.goal + random.normal(0.0, 0.05, S) * SPAN, ROBOT.lower, ROBOT.upper)
            path = at + np.minimum(1.0, steps / 10.0)[:, None] * (self.goal - at)
        elif self.kind == "jump":
            path = np.tile(at + random.normal(0.0, 0.1, S) * SPAN, (self.points, 1))
        elif self.kind == "edge":
            path = np.tile(np.where(random.random(S) < 0.5, ROBOT.lower, ROBOT.upper), (self.points, 1))
            path = at + np.clip(path - at, -0.15 * SPAN, 0.15 * SPAN)
        else:
            path = random.normal(0.0, 10.0 ** random.uniform(-3, 6), (self.points, S))
        stamp_ns = now_ns - int(1e9 * random.choice([0.0, 0.05, 0.3]))
        return Chunk(stamp_ns, int(self.step_s * 1e9), path)


def episode(seed: int) -> Worst:
    """Some seconds of one controller and one robot."""
    random = np.random.default_rng(seed)
    rate_hz = RATES_HZ[seed % len(RATES_HZ)]
    period_s = 1.0 / rate_hz
    period_ns = round(1e9 * period_s)
    config = ControllerConfig(
        period_s=period_s,
        motion_scale=float(random.choice([1.0, 1.0, 0.3])),
        max_state_age_s=float(random.choice([0.25, 0.25, 10.0])),
        max_heartbeat_gap_s=float(random.choice([0.25, 10.0])),
        chunk_aggregation=str(random.choice(["replace", "temporal_ensemble"])),
    )
    controller, robot = Controller(ROBOT, config), Robot(random, period_s)
    askers = {"policy": Asker(random), "teleop": Asker(random)}
    by_hand = random.random() < 0.3
    worst, path = Worst(), []
    now_ns, steady_ns = 1_000_000_000_000, 5_000_000_000
    next_ns = dict.fromkeys(askers, now_ns)
    for cycle in range(int(EPISODE_S * rate_hz)):
        now_ns, steady_ns = now_ns + period_ns, steady_ns + period_ns
        if random.random() < 0.02 * period_s:
            now_ns += int(1e9 * random.normal(0.0, 2.0))  # the clock is set
        if random.random() < 0.1 * period_s:
            stall_ns = int(1e9 * random.uniform(0.0, 0.4))
            now_ns, steady_ns = now_ns + stall_ns, steady_ns + stall_ns
        if cycle % robot.every == 0:
            for slots, stamp_ns in robot.measured(now_ns):
                controller.on_state(slots, stamp_ns, now_ns)
        if random.random() < 0.95 and cycle % max(1, rate_hz // 20) == 0:
            controller.on_heartbeat("" if random.random() < 0.995 else "camera head is late", 0.0)
        for source, asker in askers.items():
            if (source == "policy" or by_hand) and abs(now_ns - next_ns[source]) >= 1e9 * asker.period_s:
                next_ns[source] = now_ns
                at = robot.position if random.random() < 0.5 or not path else path[-1]
                controller.on_chunk(asker.chunk(now_ns, at), source, now_ns)  # type: ignore[arg-type]
        if _words(random, controller, now_ns, period_s) and path:
            worst.add(path, period_s, config.motion_scale)  # armed anew, it begins where the robot is measured
            path = []
        command = controller.update(now_ns, steady_ns)
        sent = None if command.shadow else command.positions
        if sent is not None:
            path.append(sent)
        elif path:
            worst.add(path, period_s, config.motion_scale)
            path = []
        robot.step(sent)
    if path:
        worst.add(path, period_s, config.motion_scale)
    worst.counters += controller.counters
    return worst


def _words(random: np.random.Generator, controller: Controller, now_ns: int, period_s: float) -> bool:
    """What the operator says and who else is there: mostly a robot that runs; whether it was armed."""
    armed = False
    if random.random() < 0.15 * period_s:
        getattr(controller, str(random.choice(["hold", "stop", "reset"])))()
    if random.random() < 0.1 * period_s:
        controller.on_conflict(str(random.choice(["", "2 publishers on /joint_states: a, b"])))
    if random.random() < 0.1 * period_s:
        controller.on_conflict("", rival=str(random.choice(["", "", "2 publishers on /joint_command: a, b"])))
    if random.random() < 4.0 * period_s:
        controller.on_conflict("")
        if controller.mode in ("idle", "stopped"):
            controller.reset()
            armed = not controller.arm(now_ns)
        if controller.run(now_ns):
            controller.reset()
    return armed


def fuzz(commands: int, first_seed: int = 0, workers: int = 1) -> Worst:
    """Episodes until so many commands were sent."""
    worst = Worst()
    if workers == 1:
        seed = first_seed
        while worst.commands < commands:
            worst.join(episode(seed))
            seed += 1
        return worst
    with multiprocessing.Pool(workers) as pool:
        for done, one in enumerate(pool.imap_unordered(episode, range(first_seed, first_seed + 10**6))):
            worst.join(one)
            if done % 50 == 0:
                print(f"\r{worst.commands} of {commands} commands, {worst.ratios}", end="", flush=True)
            if worst.commands >= commands:
                pool.terminate()
                break
    print()
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", type=int, default=1_000_000)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    worst = fuzz(options.commands, options.first_seed, options.workers)
    print(f"{worst.commands} commands; largest ratio to the limit: {worst.ratios}")
    for name, count in sorted(worst.counters.items()):
        print(f"  {name}: {count}")


if __name__ == "__main__":
    main()
