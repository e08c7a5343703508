"""Capsules enclose the shapes, stand where the links stand, and measure what MuJoCo measures."""

from __future__ import annotations

from itertools import product

import mujoco
import numpy as np
import pytest
from activemimic_description.capsules import MOST_OVERREACH_M, Capsule, CapsuleModel, segment_distances, shape_capsules
from activemimic_description.kinematics import link_poses
from activemimic_description.mjcf import robot_mjcf
from activemimic_description.robot import Shape, load_robot
from activemimic_description.shapes import shape_pose
from hypothesis import given, settings
from hypothesis import strategies as st

G1 = load_robot("g1")
MODEL = CapsuleModel(G1)
SHAPES = [(name, shape) for name, link in G1.links.items() for shape in link.shapes]
SOLIDS = [pytest.param(shape, id=name) for name, shape in SHAPES if shape.capsule is None]
sides = st.floats(0.01, 0.6)
seeds = st.integers(0, 2**32 - 1)


def postures(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(G1.lower, G1.upper, (count, len(G1.slots)))


def beyond(points: np.ndarray, capsules: tuple[Capsule, ...]) -> np.ndarray:
    """(K,) m by which points (K, 3) lie outside all capsules; negative inside one."""
    found = []
    for capsule in capsules:
        way = capsule.end - capsule.start
        share = np.clip((points - capsule.start) @ way / max(way @ way, 1e-12), 0.0, 1.0)
        found.append(np.linalg.norm(points - capsule.start - share[:, None] * way, axis=1) - capsule.radius)
    return np.min(found, axis=0)


def points_of(shape: Shape, rng: np.random.Generator, count: int = 600) -> np.ndarray:
    """Points (K, 3) in the link's frame on a box's or a cylinder's surface, its corners or rims, and within it."""
    if shape.box is not None:
        unit = rng.uniform(-1.0, 1.0, (count, 3))
        unit[np.arange(count // 2), rng.integers(3, size=count // 2)] = rng.choice([-1.0, 1.0], count // 2)
        local = np.concatenate([unit, list(product([-1.0, 1.0], repeat=3))]) * np.array(shape.box) / 2
    else:
        angle = rng.uniform(-np.pi, np.pi, count)
        radius = np.where(np.arange(count) % 3, 1.0, np.sqrt(rng.random(count))) * shape.cylinder
        height = np.where(np.arange(count) % 2, rng.uniform(-1.0, 1.0, count), rng.choice([-1.0, 1.0], count))
        local = np.stack([radius * np.cos(angle), radius * np.sin(angle), height * shape.length / 2], axis=1)
    T = shape_pose(shape)
    return local @ T[:3, :3].T + T[:3, 3]


@pytest.mark.parametrize("shape", SOLIDS)
def test_capsules_enclose_the_robot_s_boxes_and_cylinders(shape: Shape) -> None:
    assert beyond(points_of(shape, np.random.default_rng(0)), shape_capsules(shape)).max() < 1e-9


@given(box=st.tuples(sides, sides, sides), limit_m=st.floats(0.01, 0.1), seed=seeds)
@settings(max_examples=40)
def test_capsules_enclose_any_box(box: tuple[float, float, float], limit_m: float, seed: int) -> None:
    shape = Shape(box=box, xyz=(0.1, -0.2, 0.3), rpy_deg=(20.0, 40.0, -70.0))
    assert beyond(points_of(shape, np.random.default_rng(seed)), shape_capsules(shape, limit_m)).max() < 1e-9


@given(radius=sides, length=sides, seed=seeds)
@settings(max_examples=40)
def test_a_capsule_encloses_any_cylinder(radius: float, length: float, seed: int) -> None:
    shape = Shape(cylinder=radius, length=length, xyz=(0.1, -0.2, 0.3), rpy_deg=(20.0, 40.0, -70.0))
    assert beyond(points_of(shape, np.random.default_rng(seed)), shape_capsules(shape)).max() < 1e-9


@pytest.mark.parametrize("shape", [solid for solid in SOLIDS if solid.values[0].box is not None])
def test_capsules_reach_beyond_a_box_by_no_more_than_the_limit(shape: Shape) -> None:
    rng = np.random.default_rng(0)
    T = shape_pose(shape)
    for capsule in shape_capsules(shape):
        directions = rng.normal(size=(500, 3))
        surface = rng.uniform(0.0, 1.0, (500, 1)) * (capsule.end - capsule.start) + capsule.start
        surface += capsule.radius * directions / np.linalg.norm(directions, axis=1, keepdims=True)
        outside = np.maximum(np.abs((surface - T[:3, 3]) @ T[:3, :3]) - np.array(shape.box) / 2, 0.0)
        assert np.linalg.norm(outside, axis=1).max() <= MOST_OVERREACH_M


def test_every_shape_is_in_the_model_those_too_that_the_simulator_ignores() -> None:
    expected = [(name, number) for name, link in G1.links.items() for number in range(len(link.shapes))]
    assert list(dict.fromkeys(zip(MODEL.links, MODEL.shapes, strict=True))) == expected
    assert any(not shape.collision for _, shape in SHAPES)


def test_fast_kinematics_agree_with_the_reference_at_random_postures() -> None:
    local = [(name, capsule) for name, shape in SHAPES for capsule in shape_capsules(shape)]
    for slots in [G1.home, *postures(0, 20)]:
        T = link_poses(G1, G1.joint_positions(slots))
        expected = [[T[name][:3, :3] @ p + T[name][:3, 3] for p in (c.start, c.end)] for name, c in local]
        np.testing.assert_allclose(MODEL.ends(slots), expected, atol=1e-12)


def test_many_postures_at_once_are_the_same_as_one_by_one() -> None:
    many = postures(1, 6).reshape(2, 3, -1)
    np.testing.assert_array_equal(MODEL.ends(many)[1, 2], MODEL.ends(many[1, 2]))
    assert MODEL.ends(many).shape == (2, 3, len(MODEL.links), 2, 3)


def sampled_distance(first: np.ndarray, second: np.ndarray) -> float:
    """The least distance (m) of points sampled along the first segment, ever closer about the best, to the second."""
    low, high = 0.0, 1.0
    for _ in range(6):
        samples = np.linspace(low, high, 41)
        apart = beyond(first[0] + samples[:, None] * (first[1] - first[0]), (Capsule(*second, 0.0),))
        best = int(np.argmin(apart))  # convex along the segment, so the least lies beside the best sample
        low, high = samples[max(best - 1, 0)], samples[min(best + 1, 40)]
    return float(apart.min())


@given(seed=seeds, kind=st.sampled_from(["any", "parallel", "almost parallel", "on one line", "points", "crossing"]))
@settings(max_examples=150)
def test_segment_distances_are_those_found_by_sampling(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.uniform(-1.0, 1.0, (2, 2, 3))
    way = first[1] - first[0]
    if kind == "parallel":
        second[1] = second[0] + rng.uniform(-2.0, 2.0) * way
    elif kind == "almost parallel":
        second[1] = second[0] + rng.uniform(-2.0, 2.0) * way + 10.0 ** rng.uniform(-12, -2) * rng.normal(size=3)
    elif kind == "on one line":
        second = first[0] + rng.uniform(-2.0, 2.0, (2, 1)) * way
    elif kind == "points":
        second[1] = second[0]
        if seed % 2:
            first[1] = first[0]
    elif kind == "crossing":
        second = first[0] + rng.random() * way + np.outer(rng.uniform(-1.0, 1.0, 2), rng.normal(size=3))
    expected = sampled_distance(first, second)
    np.testing.assert_allclose(segment_distances(first[None], second[None]), expected, atol=1e-6)
    np.testing.assert_allclose(segment_distances(second[None], first[None]), expected, atol=1e-6)


def test_distances_are_mujoco_s_for_capsules_and_never_more_for_shapes_that_are_enclosed() -> None:
    mjcf = mujoco.MjModel.from_xml_string(robot_mjcf(G1))
    mjcf.opt.ccd_tolerance, mjcf.opt.ccd_iterations = 1e-10, 200
    data = mujoco.MjData(mjcf)
    geoms = [mjcf.body(link).geomadr[0] + number for link, number in zip(MODEL.links, MODEL.shapes, strict=True)]
    by_geom = {geom: np.flatnonzero(np.array(geoms) == geom) for geom in geoms}
    is_capsule = {geom: mjcf.geom_type[geom] == mujoco.mjtGeom.mjGEOM_CAPSULE for geom in by_geom}
    rng = np.random.default_rng(2)
    exact = enclosing = 0
    for slots in postures(2, 25):
        for name, position in G1.joint_positions(slots).items():
            data.qpos[mjcf.joint(name).qposadr] = position
        mujoco.mj_kinematics(mjcf, data)
        ends = MODEL.ends(slots)
        for _ in range(150):
            a, b = rng.choice(list(by_geom), 2, replace=False)
            if mjcf.geom_bodyid[a] == mjcf.geom_bodyid[b]:
                continue
            theirs = mujoco.mj_geomDistance(mjcf, data, int(a), int(b), 5.0, None)
            first, second = (np.array(k) for k in zip(*product(by_geom[a], by_geom[b]), strict=True))
            apart = segment_distances(ends[first], ends[second]) - MODEL.radius[first] - MODEL.radius[second]
            ours = float(apart.min())
            if is_capsule[a] and is_capsule[b]:
                exact += 1
                assert ours == pytest.approx(theirs, abs=1e-6)
            elif theirs > 0:
                enclosing += 1
                assert ours <= theirs + 1e-6
                assert ours >= theirs - 2 * 0.03
            else:
                assert ours <= 1e-6
    assert exact > 300
    assert enclosing > 1000
