"""The cached prefix plus the expert is exactly one joint transformer."""

import copy
import dataclasses

import pytest
import torch
from activemimic_policy.model.flow import noisy_actions
from activemimic_policy.model.flow_policy import FlowPolicy
from activemimic_policy.model.layers import rotate, rotation_at
from activemimic_policy.model.model_config import PRESETS, preset
from activemimic_policy.runtime.eager import EagerRuntime
from small_policy import random_inputs, random_model, small_config


def rms_norm(x, norm):
    return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * (1 + norm.weight)


def heads_of(x, rows, rotation, head_dim):
    """The heads that some rows of a projection's matrix make of x, turned by their positions."""
    y = (x @ rows.T).reshape(*x.shape[:2], -1, head_dim)
    return y if rotation is None else rotate(y, rotation)


def matrices(layer, config):
    """The query, key and value rows of a layer's one matrix; no query in the last prefix layer."""
    weight = layer.qkv.weight if hasattr(layer, "qkv") else layer.kv.weight
    kv = config.kv_heads * config.head_dim
    return dict(zip(("query", "key", "value"), weight.split([len(weight) - 2 * kv, kv, kv]), strict=True))


def joint_velocity(model, inputs, x_t, t):
    """Prefix and suffix go through the layers side by side; one attention with one block mask sees both."""
    config = model.config
    images = model.vision(inputs.images)
    text = model.text(inputs.text) * config.prefix_width**0.5
    prefix = torch.cat([images, text], dim=1)
    suffix = model.expert.embed(inputs.state, x_t, t)

    image_mask = inputs.image_mask.repeat_interleave(config.tokens_per_camera, dim=1)
    real = torch.cat([image_mask, inputs.text_mask, torch.ones(suffix.shape[:2], dtype=torch.bool)], dim=1)
    positions = real.long().cumsum(1) - 1
    block = torch.tensor([0] * prefix.shape[1] + [1] + [2] * config.horizon)
    mask = (block[None, :] <= block[:, None]) & real[:, None, :]  # (B, query, key)
    rotation = rotation_at(positions, config.head_dim, config.rope_base, prefix.dtype)

    for layer in range(config.depth):
        last = layer == config.depth - 1
        before = model.prefix.last if last else model.prefix.blocks[layer]
        after = model.expert.blocks[layer]
        norms = [before.norm if last else before.attention_norm, after.attention_norm]
        normed = [rms_norm(x, norm) for x, norm in zip((prefix, suffix), norms, strict=True)]
        split = prefix.shape[1]
        rotations = [
            type(rotation)(*(r[:, :split] for r in rotation)),
            type(rotation)(*(r[:, split:] for r in rotation)),
        ]
        modules = (before, after)
        keys, values = (
            torch.cat(
                [
                    heads_of(x, matrices(m, config)[name], r if name == "key" else None, config.head_dim)
                    for x, m, r in zip(normed, modules, rotations, strict=True)
                ],
                dim=1,
            ).repeat_interleave(config.heads // config.kv_heads, dim=2)
            for name in ("key", "value")
        )

        def attended(queries, rows, keys=keys, values=values):
            scores = torch.einsum("bnhd,bmhd->bhnm", queries, keys) / config.head_dim**0.5
            scores = scores.masked_fill(~mask[:, None, rows], -torch.inf)
            return torch.einsum("bhnm,bmhd->bnhd", scores.softmax(-1), values).flatten(2)

        if not last:
            queries = heads_of(normed[0], matrices(before, config)["query"], rotations[0], config.head_dim)
            prefix = prefix + before.out(attended(queries, slice(0, split)))
            prefix = prefix + before.mlp(rms_norm(prefix, before.mlp_norm))
        queries = heads_of(normed[1], matrices(after, config)["query"], rotations[1], config.head_dim)
        suffix = suffix + after.out(attended(queries, slice(split, None)))
        suffix = suffix + after.mlp(rms_norm(suffix, after.mlp_norm))
    return model.expert.velocity_out(rms_norm(suffix[:, 1:], model.expert.norm))


def in_double(inputs):
    return dataclasses.replace(inputs, images=inputs.images.double(), state=inputs.state.double())


def test_cached_prefix_and_expert_equal_joint_attention_in_outputs_and_gradients():
    config = small_config()
    cached = random_model(config).double()
    joint = copy.deepcopy(cached)
    inputs = in_double(random_inputs(config))
    inputs = dataclasses.replace(inputs, image_mask=torch.tensor([[True, True], [True, False]]))
    generator = torch.Generator().manual_seed(1)
    x_t = torch.randn(2, config.horizon, config.action_width, dtype=torch.float64, generator=generator)
    # One time for a whole chunk, and a chunk whose first two steps are given.
    t = torch.tensor([[0.3] * 5, [0, 0, 0.9, 0.9, 0.9]], dtype=torch.float64)
    weight = torch.randn(x_t.shape, dtype=torch.float64, generator=generator)

    ours = cached.velocity(cached.encode_prefix(inputs), inputs.state, x_t, t)
    theirs = joint_velocity(joint, inputs, x_t, t)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)

    (ours * weight).sum().backward()
    (theirs * weight).sum().backward()
    for (name, mine), reference in zip(cached.named_parameters(), joint.parameters(), strict=True):
        assert mine.grad is not None, name
        assert torch.allclose(mine.grad, reference.grad, rtol=1e-9, atol=1e-12), name


def test_every_parameter_learns_so_that_no_half_of_the_last_prefix_layer_is_dead():
    config = small_config()
    model = random_model(config)
    inputs = random_inputs(config)
    model.loss(
        inputs,
        torch.randn(2, config.horizon, config.action_width),
        torch.ones(2, config.horizon, 1),
        torch.randn(2, 1, config.horizon, config.action_width),
        torch.rand(2, 1, 1),
    ).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def velocity_of(model, inputs):
    config = model.config
    x_t = torch.linspace(-1, 1, config.horizon * config.action_width).reshape(1, config.horizon, -1)
    x_t = x_t.expand(len(inputs.state), -1, -1)
    return model.velocity(model.encode_prefix(inputs), inputs.state, x_t, torch.full((len(x_t), 1), 0.5))


def test_more_text_padding_changes_nothing():
    config = small_config()
    model = random_model(config)
    inputs = random_inputs(config)
    wider = dataclasses.replace(
        inputs,
        text=torch.nn.functional.pad(inputs.text, (0, 5), value=3),
        text_mask=torch.nn.functional.pad(inputs.text_mask, (0, 5)),
    )
    assert torch.allclose(velocity_of(model, inputs), velocity_of(model, wider), atol=1e-5)


def test_what_an_absent_camera_shows_changes_nothing_and_a_present_one_does():
    config = small_config()
    model = random_model(config)
    inputs = random_inputs(config)
    other = dataclasses.replace(inputs, images=inputs.images.clone())
    other.images[:, 1] = 0.7
    assert not torch.allclose(velocity_of(model, inputs), velocity_of(model, other), atol=1e-3)
    absent = torch.tensor([[True, False], [True, False]])
    inputs, other = (dataclasses.replace(x, image_mask=absent) for x in (inputs, other))
    assert torch.equal(velocity_of(model, inputs), velocity_of(model, other))


def test_cameras_are_told_apart():
    config = small_config()
    model = random_model(config)
    inputs = random_inputs(config)
    swapped = dataclasses.replace(inputs, images=inputs.images.flip(1))
    assert not torch.allclose(velocity_of(model, inputs), velocity_of(model, swapped), atol=1e-3)


def test_noise_draws_that_share_a_prefix_give_the_loss_of_separate_passes():
    config = small_config()
    model = random_model(config).double()
    inputs = in_double(random_inputs(config))
    actions = torch.randn(2, config.horizon, config.action_width, dtype=torch.float64)
    weight = torch.ones(2, config.horizon, 1, dtype=torch.float64)
    noise = torch.randn(2, 3, config.horizon, config.action_width, dtype=torch.float64)
    t = torch.rand(2, 3, 1, dtype=torch.float64)
    together = model.loss(inputs, actions, weight, noise, t)
    apart = [model.loss(inputs, actions, weight, noise[:, [k]], t[:, [k]]) for k in range(3)]
    assert together.item() == pytest.approx(torch.stack(apart).mean().item(), rel=1e-6)


def test_loss_counts_real_dimensions_by_their_weight_and_no_step_that_is_given():
    config = small_config()
    model = random_model(config)
    inputs = random_inputs(config)
    actions = torch.randn(2, config.horizon, config.action_width)
    actions[..., config.action_dim :] = 0
    noise = torch.randn(2, 2, config.horizon, config.action_width)
    weight = torch.rand(2, config.horizon, config.action_dim)
    weight[:, 4:] = 0
    t = torch.full((2, 2, config.horizon), 0.7)
    t[:, :, 0] = 0  # given
    loss = model.loss(inputs, actions, weight, noise, t)

    padded = noise.clone()
    padded[..., config.action_dim :] += 5
    assert torch.equal(model.loss(inputs, actions, weight, padded, t), loss)

    # By hand, over steps 1 to 3 and the real dimensions only.
    flat = noise.flatten(0, 1).clone()
    flat[..., config.action_dim :] = 0
    twice = actions.repeat_interleave(2, 0)
    x_t, target = noisy_actions(twice, flat, t.flatten(0, 1))
    assert torch.equal(x_t[:, 0], twice[:, 0])
    prefix = model.encode_prefix(inputs).repeated(2)
    predicted = model.velocity(prefix, inputs.state.repeat_interleave(2, 0), x_t, t.flatten(0, 1))
    error = (predicted - target)[:, 1:4, : config.action_dim].square()
    counts = weight.repeat_interleave(2, 0)[:, 1:4]
    assert torch.allclose(loss, (error * counts).sum() / counts.sum(), rtol=1e-5)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_takes_its_own_inputs(name):
    config = preset(name, cameras=3, vocab_size=12, state_dim=20, action_dim=20)
    # The paper's sizes are billions of numbers: their shapes are worked through, without the numbers.
    device = "meta" if config.depth > 8 else "cpu"
    with torch.device(device):
        model = FlowPolicy(config).eval()
        noise = torch.zeros(1, config.horizon, config.action_width)
    inputs = random_inputs(config, batch=1)
    moved = dataclasses.replace(inputs, **{key: value.to(device) for key, value in vars(inputs).items()})
    with torch.inference_mode():
        actions = EagerRuntime(model, num_inference_steps=2).infer(moved, noise)
    assert actions.shape == (1, config.horizon, config.action_width)


def test_the_tiny_preset_has_about_one_and_a_quarter_million_parameters():
    model = FlowPolicy(preset("tiny", cameras=3, vocab_size=20, state_dim=20, action_dim=20))
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(1.25e6, rel=0.05)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"image_px": 18}, "multiple of 4"),
        ({"heads": 3}, "multiple of kv_heads"),
        ({"action_dim": 7}, "action_dim 7 exceeds action_width 6"),
        ({"horizon": 0}, "greater than 0"),
        ({"colour": 1}, "Extra inputs"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        small_config(**changes)


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(KeyError, match="there are activemimic, pi0, small, tiny"):
        preset("huge")
