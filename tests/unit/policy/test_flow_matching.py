"""The convention: t = 1 is noise, t = 0 is the action, and the flow is integrated from 1 to 0."""

import numpy as np
import pytest
import torch
from activemimic_policy.model.flow import euler, masked_error, noisy_actions, sample_time


def test_time_one_is_noise_and_time_zero_is_the_action():
    actions, noise = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    x_t, target = noisy_actions(actions, noise, torch.tensor([1.0, 0.0]))
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
    error = masked_error(torch.ones(1, 2, 3), torch.zeros(1, 2, 3), torch.zeros(1, 2), dims=3)
    assert error.item() == 0
