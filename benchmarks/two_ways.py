"""A flow policy whose answers are known exactly: obstacles in the way, passed on the left or on the right.

The data it stands for is a mixture of two ways round each obstacle, with a little smooth noise. Noise added to a
mixture of Gaussians is one again, so the velocity that a perfectly trained network would have is a formula; the
repository's own `euler` and `guided_euler` integrate it. Which way a chunk goes is drawn anew with its noise until
the robot has visibly set out for one side.

Axes: T horizon, M modes.
"""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import torch
from activemimic_control.chunk_aggregation import make_chunk_aggregation
from activemimic_control.player import ChunkPlayer, Wanted
from activemimic_description.chunk import Chunk
from activemimic_policy.inference import InFlight
from activemimic_policy.model.flow import ActionPrefix, euler, guided_euler, prefix_weights
from activemimic_policy.rtc import RealTimeChunking
from activemimic_rollout.agents.latency import LateChunks, Latencies
from chunk_transitions import Run
from torch import Tensor

NS = 1_000_000_000
STEP_S = 0.1
HORIZON = 16
MAX_DELAY_STEPS = 4
FLOW_STEPS = 10
OBSTACLE_S = 4.0  # one obstacle every so often
OBSTACLE_M = 0.1  # half its width
_ASIDE_M = 0.3  # how far the ways lead round it
_SPREAD_M, _SPREAD_S = 0.01, 0.4  # of the smooth noise: size and correlation
_SEEN_M = 0.01  # how exactly the state is known
_UNIT_M = 0.15  # a normalised action of 1
START_S = 3.0  # of free way before the first obstacle
RUN_S = START_S + 3 * OBSTACLE_S
RATE_HZ = 100  # of the controller
REPLAN_S = 0.4
VELOCITY = 1.0  # m/s, the limit
LAG_S = 0.05  # of the robot behind its commands
_SPEC = SimpleNamespace(slots=("place",), absolute_slots=(), step_ns=NS // 10, max_delay_steps=MAX_DELAY_STEPS)


def aside(time_s: np.ndarray) -> np.ndarray:
    """How far aside the ways lie at the times, m; 0 between the obstacles."""
    phase = np.clip((np.mod(time_s - START_S, OBSTACLE_S) - 1) / 3, 0, 1)
    return np.where(time_s > START_S, _ASIDE_M * np.sin(np.pi * phase) ** 2, 0.0)


class TwoWays:
    """`infer` answers where the robot is with a chunk of places, m aside, (T, 1)."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def infer(self, time_s: float, place: float, in_flight: InFlight | None, guided: bool) -> np.ndarray:
        velocity = _Velocity(time_s, place)
        noise = torch.from_numpy(self._random.standard_normal((1, HORIZON, 1)))
        prefix = None if in_flight is None else _prefix(in_flight, guided)
        if guided and prefix is not None:
            actions = guided_euler(velocity, noise, FLOW_STEPS, prefix)
        else:
            with torch.no_grad():
                actions = euler(velocity, noise, FLOW_STEPS, prefix)
        return actions[0].numpy() * _UNIT_M


class _Velocity:
    """E[noise - action | x_t], the target of flow matching, with the time told step by step."""

    def __init__(self, time_s: float, place: float) -> None:
        due_s = time_s + STEP_S * np.arange(1, HORIZON + 1)
        spread = _covariance(due_s, due_s) + 1e-6 * np.eye(HORIZON)
        seen = np.array([time_s])
        known = _SPREAD_M**2 + _SEEN_M**2
        along = _covariance(due_s, seen)[:, 0]
        means, log_weights = [], []
        obstacles = np.floor((due_s - START_S) / OBSTACLE_S).astype(int)
        here = int((time_s - START_S) // OBSTACLE_S)
        for sides in itertools.product((-1, 1), repeat=2):  # of the obstacle here and of the next one
            ways = np.where(obstacles == here, sides[0], sides[1]) * aside(due_s)
            off = place - sides[0] * aside(seen)[0]
            means.append(ways + along * off / known)
            log_weights.append(-(off**2) / (2 * known))
        self._mean = torch.from_numpy(np.stack(means) / _UNIT_M)  # (M, T)
        self._log_weight = torch.tensor(log_weights, dtype=torch.float64)
        self._spread = torch.from_numpy((spread - np.outer(along, along) / known) / _UNIT_M**2)

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """x (1, T, 1), t (1, T or 1) -> (1, T, 1)."""
        now = t.expand(1, HORIZON)[0].to(x.dtype)
        share = 1 - now
        covariance = share[:, None] * self._spread * share + torch.diag(now**2)
        off = x[0, :, 0] - share * self._mean  # (M, T)
        solved = torch.linalg.solve(covariance, off.T).T
        mode = torch.softmax(self._log_weight - (off * solved).sum(1) / 2, dim=0)
        action = (mode[:, None] * (self._mean + (solved * share) @ self._spread)).sum(0)
        # Where the time is 0 the action is given, and whatever stands here is not used.
        moving = (x[0, :, 0] - action) / torch.where(now > 0, now, 1.0)
        return moving[None, :, None]


def _covariance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    covariance: np.ndarray = _SPREAD_M**2 * np.exp(-((a[:, None] - b) ** 2) / (2 * _SPREAD_S**2))
    return covariance


def _prefix(in_flight: InFlight, guided: bool) -> ActionPrefix:
    """As `Policy` makes one."""
    count = len(in_flight.targets)
    actions = torch.zeros((1, HORIZON, 1), dtype=torch.float64)
    actions[0, :count] = torch.from_numpy(in_flight.targets / _UNIT_M)
    weights = prefix_weights(in_flight.delay, count if guided else in_flight.delay, HORIZON)
    return ActionPrefix(actions, weights[None].double())


def trial(seed: int, latencies: Latencies, rtc_mode: str, player_aggregation: str) -> Run:
    """Past three obstacles, with the robot's own player, delays and chunks in flight."""
    policy = TwoWays(seed)
    rtc = RealTimeChunking(_SPEC, np.array([VELOCITY]), rtc_mode)
    late = LateChunks(latencies.replay(seed))
    player = (
        LinearPlayer()
        if player_aggregation == "linear"
        else ChunkPlayer(_SPEC.slots, aggregation=make_chunk_aggregation(player_aggregation))
    )
    place, command, run = np.zeros(1), np.zeros(1), Run(RATE_HZ, np.array([VELOCITY]))
    player.reset(np.zeros((3, 1)), 0)

    def infer() -> Chunk:
        in_flight = rtc.in_flight(now_ns, place)
        positions = policy.infer(now_ns / NS, place[0], in_flight, rtc.guided)
        return Chunk(now_ns, _SPEC.step_ns, positions)

    for tick in range(round(RUN_S * RATE_HZ)):
        now_ns = tick * NS // RATE_HZ
        chunk = late.due(now_ns, round(REPLAN_S * NS), infer, rtc.sent)
        if chunk is not None and chunk.end_ns >= now_ns:  # as the controller, which takes no chunk that is over
            player.accept(chunk)
            run.joins.append(tick)
        wanted = player.sample(now_ns)
        if wanted is not None:
            command = wanted.position
        run.pauses += bool(run.joins) and wanted is None
        run.commands.append(command)
        run.measured.append(place)
        place = place + (command - place) * (1 - np.exp(-1 / (RATE_HZ * LAG_S)))
    ways = aside(np.arange(len(run.commands)) / RATE_HZ)
    off_middle = np.abs(np.array(run.measured)[:, 0])
    run.off_way_m = float(np.abs(off_middle - ways).max())
    run.success = bool((off_middle[ways > 1.5 * OBSTACLE_M] > OBSTACLE_M).all())
    return run


class LinearPlayer:
    """Without a spline: straight lines between points, and from the last command onto them."""

    def reset(self, motion: np.ndarray, t_ns: int) -> None:
        self._last, self._last_ns = motion[0], t_ns
        self._chunk: Chunk | None = None

    def accept(self, chunk: Chunk) -> None:
        start_ns = self._last_ns
        due_ns = chunk.stamp_ns + chunk.step_ns * np.arange(1, len(chunk.positions) + 1)
        ahead = np.flatnonzero(due_ns >= start_ns + chunk.step_ns // 2)
        keep = ahead if len(ahead) else [-1]
        self._times_ns = np.concatenate([[start_ns], due_ns[keep]])
        self._places = np.concatenate([[self._last[0]], chunk.positions[keep, 0]])
        self._chunk = chunk

    def sample(self, t_ns: int) -> Wanted | None:
        self._last_ns = t_ns
        if self._chunk is None or t_ns > self._chunk.end_ns:
            return None
        self._last = np.array([np.interp(t_ns, self._times_ns, self._places)])
        return Wanted(self._last, np.zeros(1))
