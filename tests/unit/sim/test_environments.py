"""The tasks as gymnasium environments."""

from __future__ import annotations

from collections.abc import Iterator

import gymnasium
import numpy as np
import pytest
from activemimic_sim.environments import CONTROL_HZ, TaskEnv
from activemimic_sim.experts import make_expert
from activemimic_sim.experts.expert import STEP_S
from activemimic_sim.tasks import TASKS, SceneError
from gymnasium.utils.env_checker import check_env

INFO = {"is_success", "points", "stage", "failure", "instruction"}


@pytest.fixture(scope="module")
def env() -> Iterator[gymnasium.Env]:
    env = gymnasium.make("activemimic/Reaching-v0", render_mode="rgb_array")
    yield env
    env.close()


def test_every_task_is_registered() -> None:
    ids = {name for name in gymnasium.registry if name.startswith("activemimic/")}
    assert ids == {f"activemimic/{task.capitalize()}-v0" for task in TASKS}


@pytest.mark.filterwarnings("ignore:.*infinity", "ignore:.*normalized space")
def test_gymnasiums_own_checker_is_content() -> None:
    env = TaskEnv("reaching", cameras=("head",))
    check_env(env, skip_render_check=True)
    env.close()


def test_observations_are_what_the_spaces_say_and_info_is_always_whole(env: gymnasium.Env) -> None:
    observation, info = env.reset(seed=1)
    assert env.observation_space.contains(observation)
    assert set(info) == INFO
    for _ in range(3):
        observation, reward, terminated, truncated, info = env.step(observation["agent_pos"])
        assert env.observation_space.contains(observation)
        assert set(info) == INFO
        assert (reward, terminated, truncated, info["is_success"]) == (0.0, False, False, False)
    assert env.render().shape == (224, 3 * 224, 3)


def test_a_seed_gives_the_same_observations_to_the_bit(env: gymnasium.Env) -> None:
    def run(seed: int) -> list[np.ndarray]:
        observation, _ = env.reset(seed=seed)
        actions = np.random.default_rng(0).uniform(-0.02, 0.02, (10, 20)).cumsum(axis=0)
        start = observation["agent_pos"]
        seen = [env.step((start + action).astype(np.float32))[0] for action in actions]
        return [np.concatenate([view.flatten() for view in step["pixels"].values()]) for step in seen]

    first, other, again = run(7), run(8), run(7)
    np.testing.assert_array_equal(first, again)
    assert any((one != two).any() for one, two in zip(first, other, strict=True))


def test_the_expert_solves_it_and_success_ends_the_episode() -> None:
    env = TaskEnv("reaching", cameras=())
    env.reset(seed=0)
    expert = make_expert(env.simulation, 0)
    every = round(STEP_S * CONTROL_HZ)
    terminated, step = False, 0
    while not terminated:
        if step % every == 0:
            action = expert.act()
        _, reward, terminated, truncated, info = env.step(action)
        step += 1
        assert not truncated
    assert (info["is_success"], info["points"], info["stage"], reward) == (True, 1, "lifted", 1.0)


def test_when_the_time_is_up_the_episode_is_truncated() -> None:
    env = TaskEnv("reaching", cameras=())
    observation, _ = env.reset(seed=0)
    truncated, steps = False, 0
    while not truncated:
        observation, _, terminated, truncated, _ = env.step(observation["agent_pos"])
        steps += 1
        assert not terminated
    assert steps == env._max_episode_steps == round(env.simulation.task.time_limit_s * CONTROL_HZ)


def test_a_cell_of_the_trial_plan_can_be_chosen() -> None:
    env = TaskEnv("reaching", cameras=())
    places = []
    for cell in range(9):
        env.reset(seed=3, options={"cell": cell})
        places.append(env.simulation.data.body("cube").xpos[:2].copy())
    assert len(np.unique(np.round(places, 3), axis=0)) == 9
    with pytest.raises(SceneError, match="expected a cell of 0 to 8, found 9"):
        env.reset(seed=3, options={"cell": 9})


def test_environments_run_side_by_side_in_processes_of_their_own() -> None:
    """The OpenGL context is made in the process that uses it."""
    envs = gymnasium.make_vec(
        "activemimic_sim.environments:activemimic/Reaching-v0",
        num_envs=2,
        vectorization_mode="async",
        vector_kwargs={"context": "spawn"},
        cameras=("head",),
    )
    observations, _ = envs.reset(seed=[1, 2])
    alone = TaskEnv("reaching", cameras=("head",))
    for index, seed in enumerate((1, 2)):
        expected, _ = alone.reset(seed=seed)
        np.testing.assert_array_equal(observations["pixels"]["head"][index], expected["pixels"]["head"])
    observations, _, _, _, infos = envs.step(observations["agent_pos"])
    assert infos["is_success"].tolist() == [False, False]
    envs.close()
    alone.close()


def test_an_unknown_camera_is_named() -> None:
    with pytest.raises(ValueError, match="there is no camera chest: expected head, left_wrist, right_wrist"):
        TaskEnv("reaching", cameras=("chest",))
