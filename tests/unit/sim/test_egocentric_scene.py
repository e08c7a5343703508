"""What a synthetic person's camera shows is where the poses say it is, the same for a seed, and humanly possible."""

import numpy as np
import pytest
from activemimic_sim.egocentric.person import EgocentricScene
from activemimic_sim.egocentric.tasks import TASKS
from activemimic_sim.world.rendering import RenderingError


@pytest.fixture(scope="module")
def scene():
    with EgocentricScene("pouring", 3, 160, 120) as made:
        try:
            next(made.images([0.0]))
        except RenderingError as error:
            pytest.skip(str(error))
        yield made


def pixel(scene, T_world_camera, place):
    x, y, z = scene.K @ (np.linalg.inv(T_world_camera) @ [*place, 1.0])[:3]
    return np.array([x / z, y / z])


def test_an_object_is_seen_where_camera_k_and_its_pose_put_it(scene):
    """The middle of what is seen of a cup, from several views, is within a pixel or two of its middle projected."""
    offsets = []
    for t in (0.2, 1.0, 1.5, 2.0):
        rows, columns = np.nonzero(scene.shown(t, "cup_1"))
        if columns.min() > 0 and columns.max() < 159 and rows.min() > 0 and rows.max() < 119:
            middle = np.array([columns.min() + columns.max(), rows.min() + rows.max()]) / 2
            offsets.append(middle - pixel(scene, scene.bodies([t])[0, 0], scene.person.thing("cup_1", t)[:3, 3]))
    assert len(offsets) >= 2
    assert np.abs(offsets).max() < 1.5


def test_a_hand_in_view_is_where_its_wrist_is(scene):
    times = np.arange(0, scene.seconds, 0.7)
    bodies = scene.bodies(times)
    checked = 0
    for t, poses, (_, seen) in zip(times, bodies, scene.in_view(bodies), strict=True):
        shown = np.argwhere(scene.shown(t, "right_hand"))
        if seen and len(shown):
            palm = pixel(scene, poses[0], poses[2, :3, :3] @ [0.05, 0, 0] + poses[2, :3, 3])
            assert np.linalg.norm(shown[:, ::-1] - palm, axis=1).min() < 3
            checked += 1
    assert checked >= 5


def test_depth_is_that_of_the_cups_middle_less_its_radius(scene):
    T_camera_cup = np.linalg.inv(scene.bodies([1.0])[0, 0]) @ scene.person.thing("cup_1", 1.0)
    (depth,) = scene.depths([1.0])
    shown = scene.shown(1.0, "cup_1")
    assert 0 < T_camera_cup[2, 3] - np.median(depth[shown]) < 0.07


def test_the_same_seed_shows_the_same_and_another_does_not(scene):
    with EgocentricScene("pouring", 3, 160, 120) as again, EgocentricScene("pouring", 4, 160, 120) as other:
        first, second, third = (next(it.images([1.0])) for it in (scene, again, other))
        np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(scene.bodies([1.0]), again.bodies([1.0]))
        assert np.abs(first.astype(int) - third).mean() > 5


@pytest.mark.parametrize("task", TASKS)
def test_a_person_moves_as_people_can_and_sees_a_hand_most_of_the_time(task):
    seen = []
    for seed in range(6):
        scene = EgocentricScene(task, seed)
        bodies = scene.bodies(np.arange(0, scene.seconds, 0.1))
        speeds = np.linalg.norm(np.diff(bodies[..., :3, 3], axis=0), axis=-1) * 10
        R = bodies[..., :3, :3]
        cosines = (np.trace(np.swapaxes(R[:-1], -1, -2) @ R[1:], axis1=-2, axis2=-1) - 1) / 2
        turns = np.degrees(np.arccos(np.clip(cosines, -1, 1))) * 10
        assert 5 < scene.seconds < 30
        assert speeds[:, 0].max() < 1.0
        assert speeds[:, 1:].max() < 2.5
        assert turns.max() < 275
        assert np.linalg.norm(bodies[:, 1:, :3, 3] - bodies[:, :1, :3, 3], axis=-1).max() < 1.1
        seen.append(scene.in_view(bodies).any(axis=1).mean())
    assert np.mean(seen) > 0.6


def test_what_a_hand_takes_goes_with_it_and_stays_where_it_is_put():
    person = EgocentricScene("restocking", 1).person
    end = person.now + 5
    moved = [name for name in ("can_0", "can_1", "can_2", "can_3") if person.thing(name, end)[2, 3] > 1.15]
    assert len(moved) == 3
    for name in moved:
        heights = [person.thing(name, t)[2, 3] for t in np.arange(0, end, 0.1)]
        assert np.abs(np.diff(heights)).max() < 0.2
