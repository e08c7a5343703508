"""The optimiser follows its schedule, and a restored one goes on to the same bits."""

import pytest
import torch
from activemimic_policy.model.flow_policy import FlowPolicy
from activemimic_policy.model.model_config import preset
from activemimic_training.trainer.optimization.optimisation import Optimisation, ema_share, learning_rate
from activemimic_training.trainer.setup.train_config import OptimizerSection


def test_the_learning_rate_warms_up_and_falls_as_a_cosine_to_its_share():
    settings = OptimizerSection(lr=1e-3, warmup_steps=100, final_lr_share=0.02)
    rates = [learning_rate(step, 1100, settings) for step in range(1101)]
    assert rates[0] == pytest.approx(1e-5)
    assert rates[99] == rates[100] == pytest.approx(1e-3)
    assert rates[600] == pytest.approx(0.51e-3)
    assert rates[1100] == pytest.approx(2e-5)
    assert rates[100:] == sorted(rates[100:], reverse=True)


def test_the_average_follows_quickly_at_first_and_slowly_later():
    assert ema_share(0, 0.998) == pytest.approx(0.9)
    assert ema_share(90, 0.998) == pytest.approx(0.09)
    assert ema_share(10_000, 0.998) == pytest.approx(0.002)


def small_model():
    torch.manual_seed(0)
    config = preset("tiny", cameras=1, vocab_size=5, state_dim=3, action_dim=3, image_px=16, horizon=2)
    return FlowPolicy(config)


def gradients(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator).contiguous(
            memory_format=torch.channels_last if parameter.ndim == 4 else torch.contiguous_format
        )


def test_steps_equal_plain_adamw_with_clipping():
    settings = OptimizerSection(lr=1e-2, warmup_steps=0)
    ours = Optimisation(small_model(), settings, steps=10, ema_decay=0.9)
    reference = small_model()
    plain = torch.optim.AdamW(reference.parameters(), betas=(0.9, 0.95), weight_decay=1e-4, foreach=False)
    for step in range(3):
        gradients(ours.model, step)
        _, norm = ours.advance(step)
        gradients(reference, step)
        total = torch.cat([p.grad.flatten() for p in reference.parameters()]).norm()
        assert norm == pytest.approx(total.item(), rel=1e-4)  # sums of a million squares
        for parameter in reference.parameters():
            parameter.grad /= total
        plain.param_groups[0]["lr"] = learning_rate(step, 10, settings)
        plain.step()
    for (name, mine), theirs in zip(ours.model.named_parameters(), reference.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6), name


def test_a_restored_optimisation_goes_on_to_the_same_bits():
    one = Optimisation(small_model(), OptimizerSection(), steps=10, ema_decay=0.9)
    for step in range(2):
        gradients(one.model, step)
        one.advance(step)
    two = Optimisation(small_model(), OptimizerSection(), steps=10, ema_decay=0.9)
    # Through storage a tensor loses how it lies in memory.
    stored = {g: {n: t.contiguous().clone() for n, t in group.items()} for g, group in one.state().items()}
    two.restore(stored)
    for it in (one, two):
        gradients(it.model, 7)
        it.advance(2)
    for group, tensors in one.state().items():
        for name, tensor in tensors.items():
            assert torch.equal(tensor, two.state()[group][name]), (group, name)


def test_a_gradient_that_is_none_changes_nothing():
    it = Optimisation(small_model(), OptimizerSection(), steps=10, ema_decay=0.9)
    before = [parameter.clone() for parameter in it.model.parameters()]
    gradients(it.model, 0)
    next(it.model.parameters()).grad[0] = torch.nan
    _, norm = it.advance(0)
    assert norm != norm
    assert all(torch.equal(a, b) for a, b in zip(before, it.model.parameters(), strict=True))
