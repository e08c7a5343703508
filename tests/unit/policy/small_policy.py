"""A policy small enough to build, save and run in milliseconds."""

import torch
from activemimic_policy.model.flow_policy import FlowPolicy, ModelInputs
from activemimic_policy.model.model_config import ModelConfig

SLOTS = ("neck", "arm_1", "arm_2", "gripper")
INSTRUCTIONS = ("pick up the red cube", "wave")


def small_config(**changes) -> ModelConfig:
    sizes = {
        "cameras": 2,
        "image_px": 16,
        "vocab_size": 9,
        "text_length": 8,
        "state_dim": len(SLOTS),
        "state_width": 6,
        "action_dim": len(SLOTS),
        "action_width": 6,
        "horizon": 5,
        "patch_px": 4,
        "stem_channels": (8, 16),
        "vision_width": 16,
        "vision_depth": 1,
        "vision_heads": 2,
        "vision_mlp": 24,
        "keypoints": True,
        "camera_embedding": True,
        "depth": 3,
        "heads": 4,
        "kv_heads": 2,
        "head_dim": 6,
        "prefix_width": 12,
        "prefix_mlp": 20,
        "expert_width": 10,
        "expert_mlp": 16,
    }
    return ModelConfig(**{**sizes, **changes})


def random_model(config: ModelConfig, seed: int = 0) -> FlowPolicy:
    """A model whose every weight is random: the velocity head starts at zero, which would hide faults."""
    torch.manual_seed(seed)
    model = FlowPolicy(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def random_inputs(config: ModelConfig, batch: int = 2, seed: int = 0) -> ModelInputs:
    generator = torch.Generator().manual_seed(seed)
    words = torch.arange(config.text_length) < torch.tensor([[4], [6]])[torch.arange(batch) % 2]
    state = torch.zeros(batch, config.state_width)
    state[:, : config.state_dim] = torch.randn(batch, config.state_dim, generator=generator)
    return ModelInputs(
        images=torch.rand(batch, config.cameras, config.image_px, config.image_px, 3, generator=generator) * 2 - 1,
        image_mask=torch.ones(batch, config.cameras, dtype=torch.bool),
        text=torch.randint(config.vocab_size, (batch, config.text_length), generator=generator),
        text_mask=words,
        state=state,
    )
