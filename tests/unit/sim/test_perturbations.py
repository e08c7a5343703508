"""Perturbations change what they name and nothing else, the same for a seed for ever, and leave no trace."""

from __future__ import annotations

import numpy as np
import pytest
from activemimic_description.robot import load_robot
from activemimic_sim.tasks import SceneError, make_task
from activemimic_sim.world.perturbations import PERTURBATIONS, make_perturbations
from activemimic_sim.world.simulation import Simulation

OF_YOGURTS = {"unseen_yogurt_a", "unseen_yogurt_b", "random_packaging", "named_side"}
CAMERAS = {"head": (224, 224), "right_wrist": (224, 224)}


def varied(*names: str, task: str = "reaching") -> Simulation:
    return Simulation(load_robot("g1"), make_task(task), names)


def images(simulation: Simulation, seed: int, time_s: float = 0.0) -> dict[str, np.ndarray]:
    simulation.reset(seed)
    simulation.advance_to(time_s)
    with simulation.cameras(CAMERAS) as cameras:
        return {name: image.copy() for name, image in cameras.render(simulation.data).items()}


@pytest.fixture(scope="module")
def plain() -> dict[str, np.ndarray]:
    return images(varied(), 0)


@pytest.mark.parametrize("name", ["flashing_light", "random_look", "camera_noise", "without_head"])
def test_looks_change_the_image_and_no_layout(name: str, plain: dict[str, np.ndarray]) -> None:
    simulation, usual = varied(name), varied()
    changed = images(simulation, 0)
    usual.reset(0)
    assert np.abs(changed["head"].astype(int) - plain["head"]).mean() > 5
    np.testing.assert_array_equal(simulation.data.qpos, usual.data.qpos)


@pytest.mark.parametrize("name", sorted(set(PERTURBATIONS) - OF_YOGURTS))
def test_a_seed_gives_the_same_varied_images_for_ever(name: str) -> None:
    one, other = varied(name), varied(name)
    first = images(one, 3, 0.2)
    images(one, 4)
    for again in (images(one, 3, 0.2), images(other, 3, 0.2)):
        for camera in CAMERAS:
            np.testing.assert_array_equal(again[camera], first[camera])


def test_flashing_light_goes_through_red_green_and_blue() -> None:
    simulation = varied("flashing_light")
    strongest = [int(np.argmax(images(simulation, 0, time_s)["head"].mean(axis=(0, 1)))) for time_s in (0.2, 0.7, 1.2)]
    assert strongest == [0, 1, 2]


def test_a_random_packaging_is_of_both_yogurts_and_never_like_those_kept_for_trials() -> None:
    simulation = varied("random_packaging", "named_side", task="finding")

    def colours(yogurt: str) -> np.ndarray:
        return np.array([simulation.model.geom(f"{yogurt}_{part}").rgba[:3] for part in ("body", "label", "lid")])

    drawn = []
    for seed in range(60):
        simulation.reset(seed)
        drawn.append(colours("yogurt"))
        np.testing.assert_array_equal(colours("other_yogurt"), drawn[-1])
    for kept in ("unseen_yogurt_a", "unseen_yogurt_b"):
        simulation = varied(kept, "named_side", task="finding")
        simulation.reset(0)
        own = colours("yogurt")
        np.testing.assert_array_equal(colours("other_yogurt"), own)
        assert np.linalg.norm(np.array(drawn) - own, axis=2).min() > 0.24
    assert np.std(drawn, axis=0).min() > 0.2


def test_without_head_blackens_that_camera_alone(plain: dict[str, np.ndarray]) -> None:
    blind = images(varied("without_head"), 0)
    assert not blind["head"].any()
    np.testing.assert_array_equal(blind["right_wrist"], plain["right_wrist"])


def test_camera_noise_is_the_trials_own_but_does_not_depend_on_how_often_one_looks() -> None:
    simulation = varied("camera_noise")
    once = images(simulation, 5)
    simulation.reset(5)
    with simulation.cameras(CAMERAS) as cameras:
        cameras.render(simulation.data)
        twice = {name: image.copy() for name, image in cameras.render(simulation.data).items()}
    np.testing.assert_array_equal(once["head"], twice["head"])
    assert (images(simulation, 6)["head"] != once["head"]).any()


def test_a_shifted_table_takes_its_objects_along() -> None:
    simulation, usual = varied("shifted_table"), varied()
    for seed in range(10):
        simulation.reset(seed)
        usual.reset(seed)
        shift_m = simulation.data.body("table").xpos - usual.data.body("table").xpos
        assert 0.0 < np.abs(shift_m).max() <= 0.02
        for name in ("cube", "obstacle"):
            moved_m = simulation.data.body(name).xpos - usual.data.body(name).xpos
            np.testing.assert_allclose(moved_m, shift_m, atol=1e-12)
        np.testing.assert_array_equal(simulation.measured(), usual.measured())


def test_distractors_stand_on_the_table_and_hide_nothing() -> None:
    simulation = varied("distractors")
    for seed in range(5):
        simulation.reset(seed)
        for number, (x, y, z) in enumerate(simulation.task.distractor_spots):
            position = simulation.data.body(f"distractor_{number}").xpos
            assert np.linalg.norm(position[:2] - (x, y)) < 0.05
            assert z < position[2] < z + 0.08


def test_variations_combine() -> None:
    simulation = varied("random_look", "shifted_table", "distractors", "rephrased")
    both = images(simulation, 2)
    assert (both["head"] != images(varied("random_look"), 2)["head"]).any()
    assert simulation.instruction in simulation.task.instructions[1:]


def test_without_variations_nothing_is_left_of_them() -> None:
    """A second trial in the same scene starts from the scene as it was made."""
    simulation = varied("random_look")
    first = images(simulation, 0)["head"]
    for seed in range(1, 6):
        images(simulation, seed)
    np.testing.assert_array_equal(images(simulation, 0)["head"], first)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("fog",), "there is no perturbation 'fog': expected flashing_light, unseen_yogurt_a"),
        (("distractors", "distractors"), "perturbation 'distractors' is given twice"),
        (("unseen_yogurt_a",), "perturbation unseen_yogurt_a: expected a task with a yogurt, found reaching"),
    ],
)
def test_a_variation_that_cannot_be_is_named(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(SceneError, match=message):
        make_perturbations(names, make_task("reaching"))
