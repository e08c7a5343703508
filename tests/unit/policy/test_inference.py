"""From camera frames to a chunk in slot units, or an error that says what is missing."""

import dataclasses
import time

import numpy as np
import pytest
import torch
from activemimic_policy.checkpoint import save_checkpoint
from activemimic_policy.inference import InFlight, PolicyInputError, load_policy
from activemimic_policy.model.flow import euler
from activemimic_policy.model.flow_policy import FlowPolicy, ModelInputs
from activemimic_policy.transforms import fit_square


@pytest.fixture
def policy(tmp_path, checkpoint):
    save_checkpoint(tmp_path / "c", checkpoint)
    return load_policy(tmp_path / "c", threads=None, seed=0)


@pytest.fixture
def images():
    random = np.random.default_rng(0)
    return {
        "wrist": random.integers(0, 256, (32, 32, 3), dtype=np.uint8),
        "head": random.integers(0, 256, (24, 32, 3), dtype=np.uint8),
        "spare": np.zeros((8, 8, 3), np.uint8),
    }


STATE = np.array([0.1, -0.2, 0.3, 1.0])


def test_a_chunk_is_absolute_targets_for_every_slot_and_step(policy, images):
    chunk = policy.infer(images, STATE, "pick up the red cube")
    assert chunk.shape == (5, 4)
    assert chunk.dtype == np.float64
    assert np.isfinite(chunk).all()


def test_inference_equals_the_steps_done_by_hand(policy, images, checkpoint):
    noise = np.random.default_rng(3).standard_normal((5, 4))
    chunk = policy.infer(images, STATE, "wave", noise=noise)

    model = FlowPolicy(checkpoint.model)
    model.load_state_dict(checkpoint.weights)
    table = checkpoint.normalization
    frames = np.stack([fit_square(images[name], 16) for name in ("head", "wrist")]).astype(np.float32) / 127.5 - 1
    state = np.zeros(6, np.float32)
    state[:4] = (STATE - table.state.mean) / table.state.std
    text, text_mask = checkpoint.tokenizer.encode("wave", 8)
    inputs = ModelInputs(
        torch.from_numpy(frames)[None],
        torch.ones(1, 2, dtype=torch.bool),
        torch.from_numpy(text)[None],
        torch.from_numpy(text_mask)[None],
        torch.from_numpy(state)[None],
    )
    start = torch.zeros(1, 5, 6)
    start[0, :, :4] = torch.from_numpy(noise)

    def velocity(x, t):  # the prefix is encoded anew at every step
        v = model.velocity(model.encode_prefix(inputs), inputs.state, x, t)
        v[..., 4:] = 0
        return v

    with torch.no_grad():
        normalised = euler(velocity, start, 4)[0, :, :4].double().numpy()
    expected = normalised * table.action.std + table.action.mean
    knee = policy.spec.relative_knee
    turn = np.arcsinh(2 * np.pi / knee)
    expected[:, :3] = knee * np.sinh(np.clip(expected[:, :3] / knee, -turn, turn)) + STATE[:3]
    assert chunk == pytest.approx(expected, abs=1e-5)


def test_the_same_noise_gives_the_same_chunk_and_new_noise_another(policy, images):
    noise = np.zeros((5, 4))
    one, two = (policy.infer(images, STATE, "wave", noise=noise) for _ in range(2))
    assert np.array_equal(one, two)
    assert not np.allclose(policy.infer(images, STATE, "wave"), policy.infer(images, STATE, "wave"))


def test_a_policy_without_noise_always_does_the_same_and_less_noise_differs_less(tmp_path, checkpoint, images):
    def spread(scale):
        spec = checkpoint.spec.model_copy(update={"noise_scale": scale})
        folder = tmp_path / str(scale)
        save_checkpoint(folder, dataclasses.replace(checkpoint, spec=spec))
        policy = load_policy(folder, threads=None, seed=0)
        return np.std([policy.infer(images, STATE, "wave") for _ in range(8)], axis=0).mean()

    assert spread(0.0) == pytest.approx(0.0, abs=1e-9)
    assert 0.0 < spread(0.3) < 0.7 * spread(1.0)


def test_what_the_cameras_show_and_what_is_asked_changes_the_chunk(policy, images):
    noise = np.zeros((5, 4))
    chunk = policy.infer(images, STATE, "wave", noise)
    assert not np.allclose(policy.infer({**images, "wrist": images["wrist"] // 2}, STATE, "wave", noise), chunk)
    assert not np.allclose(policy.infer(images, STATE, "pick up the red cube", noise), chunk)


def test_warming_up_tells_milliseconds_and_needs_no_camera(policy):
    assert policy.warm_up() > 0


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"images": {"head": np.zeros((4, 4, 3), np.uint8)}}, "camera 'wrist' is missing: .*head, wrist, found head"),
        ({"images": {}}, "camera 'head' is missing: .*found none"),
        ({"wrist": np.zeros((4, 4), np.uint8)}, r"camera 'wrist': expected an RGB image .*found \(4, 4\)"),
        ({"wrist": np.zeros((4, 4, 3))}, "camera 'wrist': .*of float64"),
        ({"state": [0, np.nan, 0, np.inf]}, "arm_1 = nan, gripper = inf"),
        ({"state": np.zeros(5)}, "state: expected 4 slots"),
        ({"instruction": " "}, "no words"),
        ({"instruction": "a " * 8}, "8 words"),
        ({"noise": np.zeros((5, 6))}, r"noise: expected shape \(5, 4\)"),
    ],
)
def test_an_observation_that_cannot_be_acted_on_is_refused(policy, images, change, complaint):
    arguments = {"images": images, "state": STATE, "instruction": "wave", **change}
    if "wrist" in arguments:
        arguments["images"] = {**images, "wrist": arguments.pop("wrist")}
    with pytest.raises(PolicyInputError, match=complaint):
        policy.infer(**arguments)


TARGETS = np.array([[0.12, -0.2, 0.31, 1.0], [0.13, -0.21, 0.32, 1.0], [0.14, -0.22, 0.33, 0.0]])


@pytest.fixture
def prefix_policy(tmp_path, checkpoint):
    """A policy that was trained with up to two given steps."""
    spec = checkpoint.spec.model_copy(update={"max_delay_steps": 2})
    save_checkpoint(tmp_path / "p", dataclasses.replace(checkpoint, spec=spec))
    return load_policy(tmp_path / "p", threads=None, seed=0)


def test_what_is_already_decided_comes_back_as_it_was_and_changes_the_rest(prefix_policy, images):
    noise = np.random.default_rng(1).standard_normal((5, 4))
    free = prefix_policy.infer(images, STATE, "wave", noise)
    bound = prefix_policy.infer(images, STATE, "wave", noise, InFlight(TARGETS, delay=2))
    assert bound[:2] == pytest.approx(TARGETS[:2], abs=1e-5)
    assert not np.allclose(bound[2:], free[2:], atol=1e-4)
    later = np.vstack([TARGETS[:2], TARGETS[2:] + 9])
    other = prefix_policy.infer(images, STATE, "wave", noise, InFlight(later, delay=2))
    assert other == pytest.approx(bound)  # what comes after the delay is not looked at


def test_a_guided_policy_is_drawn_towards_the_chunk_in_flight(policy, images):
    noise = np.random.default_rng(1).standard_normal((5, 4))
    free = policy.infer(images, STATE, "wave", noise)
    guided = policy.infer(images, STATE, "wave", noise, InFlight(TARGETS, delay=2), guided=True)
    distance = [np.abs(chunk[:2] - TARGETS[:2]).max() for chunk in (free, guided)]
    assert distance[1] < distance[0]


def test_a_zeroed_camera_is_black_whatever_it_shows(tmp_path, checkpoint, images):
    save_checkpoint(tmp_path / "c", checkpoint)
    noise = np.zeros((5, 4))
    blind = load_policy(tmp_path / "c", threads=None, ablated_cameras=["head"])
    seeing = load_policy(tmp_path / "c", threads=None)
    black = {**images, "head": np.zeros_like(images["head"])}
    without = {name: image for name, image in images.items() if name != "head"}
    assert blind.cameras == ("wrist",)
    for given in (images, without):
        assert np.array_equal(blind.infer(given, STATE, "wave", noise), seeing.infer(black, STATE, "wave", noise))
    with pytest.raises(PolicyInputError, match="ablated_cameras nose: the policy's cameras are head, wrist"):
        load_policy(tmp_path / "c", threads=None, ablated_cameras=["nose"])


@pytest.mark.parametrize(
    ("in_flight", "guided", "complaint"),
    [
        (InFlight(TARGETS, 3), False, "a delay of 3 steps, and this policy was trained for at most 2"),
        (InFlight(TARGETS, 4), True, "expected a delay of 0 to 3 steps, found 4"),
        (InFlight(TARGETS[:, :3], 1), False, "expected 1 to 5 targets of 4 slots"),
        (InFlight(np.full((1, 4), np.nan), 1), False, "expected finite targets"),
        (InFlight(np.zeros((6, 4)), 1), False, "expected 1 to 5 targets"),
    ],
)
def test_a_chunk_in_flight_that_cannot_be_gone_on_from_is_refused(prefix_policy, images, in_flight, guided, complaint):
    with pytest.raises(PolicyInputError, match=complaint):
        prefix_policy.infer(images, STATE, "wave", None, in_flight, guided)


def test_the_stages_of_an_inference_add_up_to_it(policy, images):
    policy.warm_up(1)
    begin = time.perf_counter()
    policy.infer(images, STATE, "wave")
    whole_ms = (time.perf_counter() - begin) * 1e3
    stages = dataclasses.astuple(policy.stages)
    assert min(stages) > 0
    assert 0.5 * whole_ms < sum(stages) <= whole_ms
