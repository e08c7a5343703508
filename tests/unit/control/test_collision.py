"""The guard stops hands before they touch anything of the robot, lets them go back, and lets work be done."""

from __future__ import annotations

import re
from itertools import combinations, product

import mujoco
import numpy as np
import pytest
import yaml
from activemimic_control.collision import FLOOR, WAY, CollisionGuard, Workspace
from activemimic_description.mjcf import robot_mjcf
from activemimic_description.robot import load_robot
from activemimic_sim.experts import make_expert
from activemimic_sim.experts.expert import STEP_S
from activemimic_sim.tasks import TASKS, make_task
from activemimic_sim.world.simulation import Simulation
from hypothesis import given, settings
from hypothesis import strategies as st

G1 = load_robot("g1")
GUARD = CollisionGuard(G1)
MARGIN_M = GUARD.margin_m
MJCF = mujoco.MjModel.from_xml_string(robot_mjcf(G1))
JOINTS = [MJCF.joint(slot.joint) for slot in G1.slots]
BODY_LINKS = ("base_link", "body_link1", "body_link2", "arm_base_link", "head_link1", "head_link2")
BENT = {"waist_lift": 0.0, "waist_pitch": 1.2}
seeds = st.integers(0, 2**32 - 1)


def posed(slots: np.ndarray) -> mujoco.MjData:
    data = mujoco.MjData(MJCF)
    for name, position in G1.joint_positions(slots).items():
        data.qpos[MJCF.joint(name).qposadr] = position
    mujoco.mj_kinematics(MJCF, data)
    mujoco.mj_comPos(MJCF, data)
    return data


def solid_distance(data: mujoco.MjData, link_a: str, link_b: str) -> float:
    """m between the links' true shapes, as far as it is below a metre."""
    bodies = (MJCF.body(link_a), MJCF.body(link_b))
    geoms = [range(body.geomadr[0], body.geomadr[0] + body.geomnum[0]) for body in bodies]
    return min(mujoco.mj_geomDistance(MJCF, data, a, b, 1.0, None) for a, b in product(*geoms))


def driven(slots: np.ndarray, targets: dict[str, np.ndarray]) -> np.ndarray:
    """(S,) one step of at most 0.02 rad or m with which the hands' tips go towards points (3,) in the world."""
    data = posed(slots)
    rows, errors = [], []
    jacobian = np.zeros((3, MJCF.nv))
    for side, target in targets.items():
        tip = MJCF.body(f"gripper_{side[0]}_center_link").id
        mujoco.mj_jacBody(MJCF, data, jacobian, None, tip)
        arm = [slot.name.startswith(f"{side}_arm") for slot in G1.slots]
        rows.append(np.stack([jacobian[:, joint.dofadr[0]] for joint in JOINTS], axis=1) * arm)
        errors.append(target - data.xpos[tip])
    J = np.concatenate(rows)
    step = J.T @ np.linalg.solve(J @ J.T + 1e-3 * np.eye(len(J)), np.concatenate(errors))
    return np.clip(slots + step * min(1.0, 0.02 / np.abs(step).max()), G1.lower, G1.upper)


def posture(**changes: float) -> np.ndarray:
    slots = G1.home.copy()
    for name, value in changes.items():
        slots[G1.slot_index[name]] = value
    return slots


def test_home_and_the_vendor_s_zero_are_free() -> None:
    for slots in (G1.home, np.zeros(len(G1.slots))):
        free = [GUARD.pairs[k] for k in np.flatnonzero(GUARD.distances(slots) < 2 * MARGIN_M)]
        assert free == []


@pytest.mark.parametrize("task", TASKS)
def test_no_motion_of_an_expert_would_have_been_stopped(task: str) -> None:
    """Asked as the controller asks: from the command to where the robot would stop if it braked within 0.2 s."""
    simulation = Simulation(G1, make_task(task))
    simulation.reset(3)
    expert = make_expert(simulation, 3)
    last = simulation.measured()
    steps = 0
    while not simulation.status().failure and not simulation.status().success:
        command = np.clip(expert.act(), G1.lower, G1.upper)
        braked = np.clip(command + (command - last) / STEP_S * 0.2 / 2, G1.lower, G1.upper)
        assert GUARD.check(last, command) == ""
        assert GUARD.check(last, braked) == ""
        assert GUARD.distances(simulation.measured()).min() > MARGIN_M
        simulation.command(command)
        simulation.advance_to(simulation.time_s + STEP_S)
        last = command
        steps += 1
    assert simulation.status().success
    assert steps > 30


def test_of_arms_and_body_only_the_shoulders_and_the_torso_are_left_out() -> None:
    watched = {frozenset(pair) for pair in GUARD.pairs}
    solid = [name for name, link in G1.links.items() if link.shapes]
    left, right = ([k for k in solid if k.startswith((f"arm_{s}_", f"gripper_{s}_"))] for s in "lr")
    between = [*product(left, right), *product(left + right, BODY_LINKS)]
    assert len(left) == len(right) == 10
    out = {pair for pair in between if frozenset(pair) not in watched}
    assert out == {(f"arm_{s}_link1", torso) for s in "lr" for torso in ("body_link2", "arm_base_link")}
    assert {(link, FLOOR) for link in left + right} == {pair for pair in GUARD.pairs if FLOOR in pair}


def test_of_one_arm_the_links_further_apart_than_two_joints_are_watched() -> None:
    watched = {frozenset(pair) for pair in GUARD.pairs}
    assert frozenset(("arm_l_link1", "gripper_l_outer_link")) in watched
    assert frozenset(("arm_r_link1", "arm_r_link4")) in watched
    assert frozenset(("arm_l_link2", "arm_l_link4")) not in watched
    assert frozenset(("gripper_l_inner_link", "gripper_l_outer_link")) not in watched


def test_the_body_s_own_links_which_are_left_out_cannot_meet_but_at_the_neck() -> None:
    moving = [G1.slot_index[name] for name in ("head_yaw", "head_pitch", "waist_pitch", "waist_lift")]
    joined = [{"base_link", "body_link1"}, {"body_link2", "arm_base_link"}, {"head_link1", "head_link2"}]
    joined += [{"body_link1", "body_link2"}, {"body_link1", "arm_base_link"}]
    joined += [{torso, head} for torso in ("body_link2", "arm_base_link") for head in ("head_link1", "head_link2")]
    apart = [pair for pair in combinations(BODY_LINKS, 2) if set(pair) not in joined]
    assert len(apart) == 6
    for shares in product((0.0, 0.5, 1.0), (0.0, 0.5, 1.0), (0.0, 0.25, 0.5, 0.75, 1.0), (0.0, 0.5, 1.0)):
        slots = G1.home.copy()
        slots[moving] = G1.lower[moving] + shares * (G1.upper - G1.lower)[moving]
        data = posed(slots)
        assert min(solid_distance(data, *pair) for pair in apart) > 0.02


@pytest.mark.parametrize(
    ("start", "targets", "expected"),
    [
        pytest.param({}, {"left": (0.6, 0.0, 1.0), "right": (0.6, 0.0, 1.0)}, ("left", "right"), id="hands together"),
        pytest.param({}, {"left": (0.25, 0.0, 1.0)}, ("left", "torso"), id="left hand into the torso"),
        pytest.param({}, {"right": (0.25, 0.0, 1.0)}, ("right", "torso"), id="right hand into the torso"),
        pytest.param({}, {"left": (0.43, 0.0, 1.36)}, ("left", "head"), id="left hand into the head"),
        pytest.param({}, {"right": (0.43, 0.0, 1.36)}, ("right", "head"), id="right hand into the head"),
        pytest.param({"waist_lift": 0.0}, {"left": (0.1, 0.15, 0.2)}, ("left", "base"), id="left hand into the base"),
        pytest.param(BENT, {"left": (0.7, 0.3, -0.3)}, ("left", "floor"), id="left hand below the floor"),
        pytest.param(BENT, {"right": (0.7, -0.3, -0.3)}, ("right", "floor"), id="right hand below the floor"),
    ],
)
def test_a_hand_is_stopped_before_contact_and_may_retreat(
    start: dict[str, float], targets: dict[str, tuple[float, float, float]], expected: tuple[str, str]
) -> None:
    slots, way = posture(**start), []
    goals = {side: np.array(target) for side, target in targets.items()}
    for _ in range(400):
        ahead = driven(slots, goals)
        reason = GUARD.check(slots, ahead)
        if reason:
            break
        way.append(slots)
        slots = ahead
    assert all(word in reason for word in expected), reason
    assert len(way) > 10
    assert MARGIN_M <= GUARD.distances(slots).min() < MARGIN_M + 0.05  # in time, and not out of mere caution
    data = posed(slots)
    assert min(solid_distance(data, *pair) for pair in GUARD.pairs if FLOOR not in pair) >= MARGIN_M
    assert GUARD.check(slots, slots) == ""
    assert GUARD.check(slots, way[-1]) == ""
    assert GUARD.check(slots, way[-10]) == ""


@given(seed=seeds)
@settings(max_examples=25)
def test_whoever_only_goes_where_it_is_allowed_stays_apart_and_can_go_back(seed: int) -> None:
    """Straight to random postures, asked about two steps ahead as a controller that brakes within one step."""
    rng = np.random.default_rng(seed)
    slots, way = G1.home, [G1.home]
    for _ in range(6):
        step = rng.uniform(G1.lower, G1.upper) - slots
        step *= 0.04 / np.abs(step).max()
        for _ in range(30):
            ahead = np.clip(slots + 2 * step, G1.lower, G1.upper)
            if GUARD.check(slots, ahead):
                break
            slots = np.clip(slots + step, G1.lower, G1.upper)
            way.append(slots)
        assert GUARD.check(slots, slots) == ""
        assert GUARD.check(slots, way[max(len(way) - 2, 0)]) == ""
    assert GUARD.distances(slots).min() >= MARGIN_M - 0.002
    data = posed(slots)
    nearest = [GUARD.pairs[k] for k in np.argsort(GUARD.distances(slots))[:5]]
    assert all(solid_distance(data, *pair) > 0.0 for pair in nearest if FLOOR not in pair)


@given(seed=seeds)
@settings(max_examples=15)
def test_from_within_the_margin_the_way_out_is_free_and_the_way_in_is_not(seed: int) -> None:
    slots, pair = too_close(np.random.default_rng(seed))
    distance_m = GUARD.distances(slots)[pair]
    small = 1e-5 * np.eye(len(slots))
    slope = np.array([GUARD.distances(slots + s)[pair] - GUARD.distances(slots - s)[pair] for s in small])
    out = 1e-3 * slope / np.linalg.norm(slope)
    assert GUARD.check(slots, slots + out) == ""
    reason = GUARD.check(slots, slots - out)
    assert f"is {max(0, int(1000 * distance_m))} mm from the" in reason
    assert reason.endswith("would come closer")


def too_close(rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """A posture (S,) in which one pair alone is within the margin, and that pair."""
    while True:
        goal = rng.uniform(G1.lower, G1.upper)
        for share in np.arange(0.0, 1.0, 0.02):
            slots = G1.home + share * (goal - G1.home)
            distances = GUARD.distances(slots)
            if distances.min() < MARGIN_M:
                break
        first, second = np.sort(distances)[:2]
        if -0.01 < first < MARGIN_M - 1e-3 and second > MARGIN_M + 2e-3:
            return slots, int(np.argmin(distances))


@given(seed=seeds)
@settings(max_examples=60)
def test_the_fast_answer_is_that_of_all_distances(seed: int) -> None:
    rng = np.random.default_rng(seed)
    now = rng.uniform(G1.lower, G1.upper)
    ahead = np.clip(now + rng.normal(size=len(now)) * rng.choice([0.01, 0.1, 0.5]), G1.lower, G1.upper)
    before = GUARD.distances(now)
    after = np.array([GUARD.distances(slots) for slots in now + WAY * (ahead - now)])
    stopped = ((after < MARGIN_M) & (after < before - 1e-9)).any()
    assert bool(GUARD.check(now, ahead)) == stopped


def test_a_motion_that_ends_free_but_passes_through_something_is_stopped() -> None:
    start, end = (posture(left_arm_1=1.05, left_arm_3=position) for position in (0.2, 1.4))
    assert min(GUARD.distances(start).min(), GUARD.distances(end).min()) > MARGIN_M
    assert GUARD.distances((start + end) / 2).min() < 0.0
    assert "lift column" in GUARD.check(start, end)
    assert "lift column" in GUARD.check(end, start)


def test_the_closest_pair_of_a_known_posture_is_named() -> None:
    assert GUARD.pairs[int(GUARD.distances(G1.home).argmin())] == ("arm_l_link2", "arm_base_link")


def test_a_motion_that_is_not_finite_is_stopped() -> None:
    assert "not finite" in GUARD.check(G1.home, posture(left_arm_1=np.nan))
    assert "not finite" in GUARD.check(posture(left_arm_1=np.inf), G1.home)


def test_the_floor_s_height_is_the_workspace_s_and_none_is_no_floor() -> None:
    down = posture(waist_lift=0.0)
    assert "from the floor" not in GUARD.check(G1.home, down)
    assert "of the floor" in CollisionGuard(G1, workspace=Workspace(floor_m=0.7)).check(G1.home, down)
    no_floor = CollisionGuard(G1, workspace=Workspace(floor_m=None))
    assert not any(FLOOR in pair for pair in no_floor.pairs)
    assert no_floor.check(G1.home, down) == ""


BOX = "{floor_m: 0.0, hands: [{lower: [0.1, -0.8, 0.4], upper: [0.85, 0.8, 1.8]}]}"


@pytest.mark.parametrize(
    ("side", "direction", "words"),
    [
        ("left", (1, 0, 0), "left hand .* too far forward"),
        ("right", (1, 0, 0), "right hand .* too far forward"),
        ("left", (0, 1, 0), "left hand .* too far left"),
        ("right", (0, -1, 0), "right hand .* too far right"),
        ("left", (0.2, 0.3, -1), "left hand .* too low"),
        ("left", (0, 0.2, 1), "left hand .* too high"),
    ],
)
def test_a_hand_stays_in_its_workspace_and_may_go_back(
    side: str, direction: tuple[float, float, float], words: str
) -> None:
    box = {"lower": [0.3, -0.5, 0.85], "upper": [0.75, 0.5, 1.3]}
    guard = CollisionGuard(G1, workspace=Workspace.model_validate({"hands": [box]}))
    slots, before = G1.home, G1.home
    target = posed(G1.home).body(f"gripper_{side[0]}_center_link").xpos + 0.6 * np.array(direction)
    for _ in range(100):
        ahead = driven(slots, {side: target})
        reason = guard.check(slots, ahead)
        if reason:
            break
        before, slots = slots, ahead
    assert re.search(words, reason), reason
    assert guard.check(slots, before) == ""
    assert guard.check(ahead, before) == ""  # from outside, back in
    assert guard.check(ahead, driven(ahead, {side: target})) != ""


def test_overlapping_boxes_are_one_workspace_and_separate_ones_are_not() -> None:
    near, far = {"lower": [0.0, -1, 0.3], "upper": [0.9, 1, 2]}, {"lower": [0.4, -1, 0.3], "upper": [1.5, 1, 2]}
    guard = CollisionGuard(G1, workspace=Workspace.model_validate({"hands": [near, far]}))
    reached = G1.home
    target = posed(G1.home).body("gripper_l_center_link").xpos + np.array([0.5, 0.0, 0.0])
    for _ in range(60):
        ahead = driven(reached, {"left": target})
        assert guard.check(reached, ahead) == ""
        reached = ahead
    assert posed(reached).body("gripper_l_center_link").xpos[0] > 0.9


def test_a_workspace_is_read_from_yaml_strictly() -> None:
    assert Workspace.model_validate(yaml.safe_load(BOX)).hands[0].upper == (0.85, 0.8, 1.8)
    with pytest.raises(ValueError, match="lower < upper"):
        Workspace.model_validate({"hands": [{"lower": [0, 0, 1], "upper": [1, 1, 0]}]})
    with pytest.raises(ValueError, match="flor_m"):
        Workspace.model_validate({"flor_m": 0.0})
