"""Adapters learn beside frozen matrices, and the checkpoint is a network like any other."""

import pytest
import safetensors.torch
import torch
from activemimic_policy.checkpoint import load_checkpoint
from activemimic_policy.model.flow_policy import FlowPolicy
from activemimic_policy.model.model_config import preset
from activemimic_training.trainer.data.batches import Batches
from activemimic_training.trainer.optimization.lora import add_adapters, merged
from activemimic_training.trainer.setup.train_config import LoraSection
from activemimic_training.trainer.train import train
from training_runs import QUIET, configured, losses


def test_a_merged_network_computes_what_the_adapted_one_does():
    config = preset("tiny", cameras=1, vocab_size=5, state_dim=3, action_dim=3, image_px=16, horizon=2)
    torch.manual_seed(0)
    adapted, plain = FlowPolicy(config), FlowPolicy(config)
    settings = LoraSection(rank=4, alpha=8.0)
    add_adapters(adapted, settings)
    for name, parameter in adapted.named_parameters():
        if name.endswith("lora.b"):
            torch.nn.init.normal_(parameter)
    plain.load_state_dict(merged(adapted.state_dict(), settings), strict=True)
    x = torch.randn(2, 5, config.prefix_width)
    ours, theirs = adapted.prefix.blocks[0].mlp(x), plain.prefix.blocks[0].mlp(x)
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert not torch.allclose(ours, torch.zeros_like(ours), atol=1e-2)


def test_a_run_with_adapters_leaves_a_checkpoint_of_the_plain_network(uninterrupted, dataset, tmp_path):
    former = uninterrupted[0] / "checkpoint"
    lora = {"rank": 2, "alpha": 4.0, "parts": ["prefix", "expert"]}
    train(configured(dataset, tmp_path, start_from=former, lora=lora, checkpoint_every=6), QUIET)
    before, now = load_checkpoint(former).weights, load_checkpoint(tmp_path / "checkpoint").weights
    change = now["prefix.blocks.0.qkv.weight"] - before["prefix.blocks.0.qkv.weight"]
    assert torch.linalg.matrix_rank(change, rtol=1e-3) <= 2
    assert change.abs().max() > 0
    assert torch.equal(now["expert.blocks.1.mlp_norm.weight"], before["expert.blocks.1.mlp_norm.weight"])
    assert not torch.equal(now["expert.velocity_out.weight"], before["expert.velocity_out.weight"])
    moments = safetensors.torch.load_file(tmp_path / "checkpoints/last/optimizer.safetensors")
    assert not [name for name in moments if name.startswith("prefix.blocks") and ".lora." not in name]


def test_a_killed_run_with_adapters_goes_on(dataset, tmp_path, monkeypatch):
    lora = {"rank": 2}
    train(configured(dataset, tmp_path / "whole", lora=lora, steps=4), QUIET)
    cut = configured(dataset, tmp_path / "cut", lora=lora, steps=4, checkpoint_every=2)
    with monkeypatch.context() as patch:
        patch.setattr(Batches, "at", dying_at(3, Batches.at))
        with pytest.raises(KeyboardInterrupt):
            train(cut, QUIET)
    assert len(losses(tmp_path / "cut")) == 3
    train(cut, QUIET)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def dying_at(last, real):
    def at(self, step, part=0):
        if step == last:
            raise KeyboardInterrupt
        return real(self, step, part)

    return at
