"""The convention: t = 1 is noise, t = 0 is the action, and the flow is integrated from 1 to 0."""

import numpy as np
import pytest
import torch
from activemimic_policy.model.flow import (
    ActionPrefix,
    euler,
    guidance_weight,
    guided_euler,
    noisy_actions,
    prefix_weights,
    sample_time,
    weighted_errors,
)


def test_time_one_is_noise_and_time_zero_is_the_action():
    actions, noise = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    x_t, target = noisy_actions(actions, noise, torch.tensor([[1.0], [0.0]]))
    assert torch.equal(x_t[0], noise[0])
    assert torch.equal(x_t[1], actions[1])
    assert torch.equal(target, noise - actions)


def test_euler_along_the_true_velocity_arrives_at_the_action_in_any_number_of_steps():
    actions, noise = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    for steps in (1, 3, 10):
        assert torch.allclose(euler(lambda x, t: noise - actions, noise, steps), actions, atol=1e-6)


def test_euler_visits_time_from_one_down_to_the_last_step_above_zero():
    seen = []
    euler(lambda x, t: seen.append(t[0].item()) or torch.zeros_like(x), torch.zeros(1, 2, 3), 4)
    assert seen == [1.0, 0.75, 0.5, 0.25]


def test_euler_keeps_its_state_in_float32_when_the_network_computes_in_bfloat16():
    noise = torch.full((1, 1, 1), 3.0)
    result = euler(lambda x, t: torch.full_like(x, 0.1, dtype=torch.bfloat16), noise, 100)
    assert result.dtype == torch.float32
    assert result.item() == pytest.approx(2.9, abs=1e-3)  # bfloat16 would stay at 3.0


def test_times_follow_the_beta_distribution_and_never_touch_the_data():
    t = sample_time(200_000, torch.Generator().manual_seed(0)).numpy()
    assert t.min() >= 0.001
    assert t.max() <= 1.0
    assert t.mean() == pytest.approx(0.6 * 0.999 + 0.001, abs=2e-3)  # Beta(1.5, 1): mean 3/5
    expected = (np.linspace(0.1, 0.9, 9) ** (2 / 3)) * 0.999 + 0.001
    assert np.quantile(t, np.linspace(0.1, 0.9, 9)) == pytest.approx(expected, abs=5e-3)


def test_an_error_over_no_valid_step_is_zero_not_nan():
    error = weighted_errors(torch.ones(1, 2, 3), torch.zeros(1, 2, 3), torch.zeros(1, 2, 1))
    assert error.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_every_dimension_tells_its_part_of_the_error():
    wrong = torch.tensor([[[1.0, 2.0, 3.0], [1.0, 2.0, 0.0]]])
    weight = torch.tensor([[[1.0, 3.0, 0.0], [1.0, 3.0, 0.0]]])
    parts, weights = weighted_errors(wrong, torch.zeros(1, 2, 3), weight)
    assert weights.tolist() == [0.25, 0.75, 0.0]
    assert (parts[:2] / weights[:2]).tolist() == [1.0, 4.0]
    assert parts.sum() == pytest.approx((2 + 24) / 8)


def prefix_of(actions, weights):
    return ActionPrefix(actions, torch.tensor([weights]))


def test_decided_steps_are_shown_clean_at_time_zero_and_come_out_as_they_went_in():
    actions, seen = torch.randn(1, 4, 2), []

    def velocity(x, t):
        seen.append((x.clone(), t.clone()))
        return torch.ones_like(x)

    out = euler(velocity, torch.randn(1, 4, 2), 3, prefix_of(actions, [1.0, 1.0, 0.5, 0.0]))
    assert torch.equal(out[:, :2], actions[:, :2])
    assert not torch.equal(out[:, 2:], actions[:, 2:])
    for step, (x, t) in enumerate(seen):
        assert torch.equal(x[:, :2], actions[:, :2])
        assert t[0].tolist() == pytest.approx([0, 0, 1 - step / 3, 1 - step / 3])


def test_weights_are_one_while_delayed_then_fall_exponentially_to_zero():
    # With a delay of 2 and 6 steps left the linear weights are 4/5 … 1/5 (Kinetix, the authors' own code).
    linear = np.array([1, 1, 0.8, 0.6, 0.4, 0.2, 0, 0])
    expected = linear * np.expm1(linear) / np.expm1(1)
    assert prefix_weights(2, 6, 8).numpy() == pytest.approx(expected, abs=1e-6)
    assert prefix_weights(3, 3, 5).tolist() == [1, 1, 1, 0, 0]
    assert prefix_weights(0, 0, 3).tolist() == [0, 0, 0]
    assert prefix_weights(9, 4, 4).tolist() == [1, 1, 1, 1]


def test_guidance_weight_is_kinetixs_with_time_reversed():
    for t in (0.9, 0.5, 0.1):
        tau = 1 - t
        expected = min((1 - tau) / tau * (tau**2 + (1 - tau) ** 2) / (1 - tau) ** 2, 5)
        assert guidance_weight(t, 5) == pytest.approx(expected)
    assert guidance_weight(1.0, 5) == 5


def test_guidance_is_the_vector_jacobian_product_through_the_velocity():
    torch.manual_seed(0)
    matrix = torch.randn(6, 6, dtype=torch.float64) * 0.5
    actions, noise = torch.randn(1, 3, 2, dtype=torch.float64), torch.randn(1, 3, 2, dtype=torch.float64)
    weights = torch.tensor([1.0, 0.4, 0.0], dtype=torch.float64)

    def velocity(x, t):
        return (x.flatten(1) @ matrix.T).reshape(x.shape)

    x = noise.flatten()
    for t in (1.0, 0.5):
        jacobian = torch.eye(6, dtype=torch.float64) - t * matrix  # of x - t·v(x)
        error = weights.repeat_interleave(2) * (actions.flatten() - jacobian @ x)
        x = x - (matrix @ x - guidance_weight(t, 5.0) * jacobian.T @ error) / 2
    found = guided_euler(velocity, noise, 2, ActionPrefix(actions, weights[None]))
    assert found.flatten().numpy() == pytest.approx(x.numpy(), abs=1e-12)


def test_guidance_towards_what_the_flow_does_anyway_changes_nothing():
    actions, noise = torch.randn(1, 3, 2), torch.randn(1, 3, 2)

    def velocity(x, t):  # every point's own way to the actions, with a Jacobian
        return (x - actions) / t[..., None]

    found = guided_euler(velocity, noise, 5, prefix_of(actions, [1.0, 0.5, 0.0]))
    assert torch.allclose(found, euler(velocity, noise, 5), atol=1e-5)
