"""Weights of others: every layout gives the same prefix as the model it comes from, and no key is lost or made up."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import safetensors.torch
import torch
from activemimic_policy.model.flow_policy import FlowPolicy, ModelInputs
from activemimic_policy.model.model_config import PALIGEMMA_VOCABULARY, ModelConfig, preset
from activemimic_policy.weights import WeightsError, convert, read_weights, start_from, to_paligemma

transformers = pytest.importorskip("transformers", reason="transformers is not installed here (optional)")

CONFIG = ModelConfig(
    cameras=2,
    image_px=28,
    vocab_size=96,
    text_length=5,
    state_dim=8,
    state_width=8,
    action_dim=8,
    action_width=8,
    horizon=6,
    patch_px=14,
    vision_width=32,
    vision_depth=2,
    vision_heads=2,
    vision_mlp=48,
    keypoints=False,
    camera_embedding=False,
    depth=3,
    heads=4,
    kv_heads=1,
    head_dim=16,
    prefix_width=64,
    prefix_mlp=96,
    expert_width=40,
    expert_mlp=56,
)
PADDED_ROWS = 100  # of the embedding, as the hub's checkpoint has more rows than there are tokens

Layout = Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]


def paligemma() -> torch.nn.Module:
    """The real class, small and random."""
    gemma = dict(
        model_type="gemma",
        hidden_size=CONFIG.prefix_width,
        intermediate_size=CONFIG.prefix_mlp,
        num_hidden_layers=CONFIG.depth,
        num_attention_heads=CONFIG.heads,
        num_key_value_heads=CONFIG.kv_heads,
        head_dim=CONFIG.head_dim,
        vocab_size=PADDED_ROWS,
    )
    siglip = dict(
        model_type="siglip_vision_model",
        hidden_size=CONFIG.vision_width,
        intermediate_size=CONFIG.vision_mlp,
        num_hidden_layers=CONFIG.vision_depth,
        num_attention_heads=CONFIG.vision_heads,
        image_size=CONFIG.image_px,
        patch_size=CONFIG.patch_px,
        vision_use_head=False,
    )
    config = transformers.PaliGemmaConfig(
        vision_config=siglip, text_config=gemma, projection_dim=CONFIG.prefix_width, attn_implementation="eager"
    )
    torch.manual_seed(0)
    model = transformers.PaliGemmaForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def expert(model_width: int) -> torch.nn.Module:
    config = transformers.GemmaConfig(
        hidden_size=model_width,
        intermediate_size=CONFIG.expert_mlp,
        num_hidden_layers=CONFIG.depth,
        num_attention_heads=CONFIG.heads,
        num_key_value_heads=CONFIG.kv_heads,
        head_dim=CONFIG.head_dim,
        vocab_size=7,
        attn_implementation="eager",
    )
    return transformers.GemmaForCausalLM(config).eval()


def hub(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As transformers up to 4.51 and the hub have it: no lm_head, another order of levels."""
    renamed = {}
    for key, tensor in state.items():
        name = re.sub(r"^model\.language_model\.", "language_model.model.", key)
        name = re.sub(r"^model\.vision_tower\.", "vision_tower.vision_model.", name)
        renamed[re.sub(r"^model\.multi_modal", "multi_modal", name)] = tensor
    del renamed["lm_head.weight"]
    return renamed


def transformers_4_52(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """One level more in the vision tower; the embedding is stored as the head that is tied to it."""
    renamed = {re.sub(r"^model\.vision_tower\.", "model.vision_tower.vision_model.", k): v for k, v in state.items()}
    del renamed["model.language_model.embed_tokens.weight"]
    return renamed


def openpi(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """pi0 as openpi saves it: the backbone as in 4.52, the expert with an unused head, and the action heads."""
    prefixed = {f"paligemma_with_expert.paligemma.{k}": v for k, v in transformers_4_52(state).items()}
    parts = {f"paligemma_with_expert.gemma_expert.{k}": v for k, v in expert(CONFIG.expert_width).state_dict().items()}
    del parts["paligemma_with_expert.gemma_expert.model.embed_tokens.weight"]
    width = CONFIG.expert_width
    heads = {
        "state_proj": (8, width),
        "action_in_proj": (8, width),
        "action_time_mlp_in": (2 * width, width),
        "action_time_mlp_out": (width, width),
        "action_out_proj": (width, 8),
    }
    for name, (inputs, outputs) in heads.items():
        linear = torch.nn.Linear(inputs, outputs)
        parts |= {f"{name}.weight": linear.weight.data, f"{name}.bias": linear.bias.data}
    return prefixed | parts


def lerobot(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"model.{key}": tensor for key, tensor in openpi(state).items()}


LAYOUTS: dict[str, Layout] = {
    "transformers 5": lambda state: dict(state),
    "transformers 4.52": transformers_4_52,
    "hub": hub,
    "openpi": openpi,
    "lerobot": lerobot,
}


@pytest.fixture(scope="module")
def reference() -> torch.nn.Module:
    return paligemma()


def inputs() -> ModelInputs:
    generator = torch.Generator().manual_seed(1)
    return ModelInputs(
        images=torch.rand(2, 2, 28, 28, 3, generator=generator) * 2 - 1,
        image_mask=torch.ones(2, 2, dtype=torch.bool),
        text=torch.randint(CONFIG.vocab_size, (2, 5), generator=generator),
        text_mask=torch.ones(2, 5, dtype=torch.bool),
        state=torch.zeros(2, 8),
    )


def reference_prefix(model: torch.nn.Module, given: ModelInputs) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Keys and values of every layer of the reference, for bidirectional attention and positions from zero."""
    with torch.no_grad():
        flat = given.images.flatten(0, 1).permute(0, 3, 1, 2)
        features = model.model.vision_tower(flat).last_hidden_state
        images = model.model.multi_modal_projector(features).unflatten(0, (2, 2)).flatten(1, 2)
        text = model.model.language_model.embed_tokens(given.text)  # scaled by the square root of the width
        tokens = images.shape[1] + text.shape[1]
        cache = transformers.DynamicCache()
        model.model.language_model(
            inputs_embeds=torch.cat([images, text], dim=1),
            attention_mask=torch.zeros(2, 1, tokens, tokens),
            position_ids=torch.arange(tokens)[None].expand(2, -1),
            past_key_values=cache,
            use_cache=True,
        )
        return [(layer.keys, layer.values) for layer in cache.layers]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_references_keys_and_values(layout: str, reference: torch.nn.Module) -> None:
    made = convert(LAYOUTS[layout](reference.state_dict()), CONFIG)
    model = FlowPolicy(CONFIG).eval()
    missing, unexpected = model.load_state_dict(made.weights, strict=False)
    assert unexpected == []
    assert made.has_expert == (layout in ("openpi", "lerobot"))
    assert all(name.startswith("expert.") for name in missing)
    assert bool(missing) != made.has_expert
    given = inputs()
    with torch.no_grad():
        prefix = model.encode_prefix(given)
    for ours, (keys, values) in zip(prefix.layers, reference_prefix(reference, given), strict=True):
        torch.testing.assert_close(ours.keys, keys, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.values, values, rtol=1e-4, atol=1e-4)


def test_pi0s_expert_and_heads_arrive_in_their_places(reference: torch.nn.Module) -> None:
    source = openpi(reference.state_dict())
    weights = convert(source, CONFIG).weights
    assert weights.keys() == FlowPolicy(CONFIG).state_dict().keys()
    gemma = "paligemma_with_expert.gemma_expert.model"
    kv = CONFIG.kv_heads * CONFIG.head_dim
    for ours, theirs in (
        (weights["expert.blocks.1.qkv.weight"][-2 * kv : -kv], source[f"{gemma}.layers.1.self_attn.k_proj.weight"]),
        (
            weights["expert.blocks.2.mlp.gate_up.weight"][CONFIG.expert_mlp :],
            source[f"{gemma}.layers.2.mlp.up_proj.weight"],
        ),
        (weights["expert.norm.weight"], source[f"{gemma}.norm.weight"]),
        (weights["expert.time_in.bias"], source["action_time_mlp_in.bias"]),
        (weights["expert.velocity_out.weight"], source["action_out_proj.weight"]),
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_what_the_policy_does_not_need_is_named_with_the_reason(reference: torch.nn.Module) -> None:
    unused = convert(openpi(reference.state_dict()), CONFIG).unused
    assert unused["expert.lm_head.weight"] == "the expert speaks no words"
    assert unused["model.language_model.layers.2.mlp.down_proj.weight"] == "nothing reads the last layer"
    assert not any("layers.1" in key for key in unused)


def test_rows_beyond_the_vocabulary_are_cut(reference: torch.nn.Module) -> None:
    source = reference.state_dict()
    made = convert(source, CONFIG).weights["text.weight"]
    torch.testing.assert_close(made, source["lm_head.weight"][: CONFIG.vocab_size])


def test_the_prefix_goes_back_to_transformers_and_is_the_same(reference: torch.nn.Module) -> None:
    weights = convert(hub(reference.state_dict()), CONFIG).weights
    theirs = paligemma()
    state = to_paligemma(weights, CONFIG)
    for key in ("model.language_model.embed_tokens.weight", "lm_head.weight"):
        state[key] = torch.cat([state[key], torch.zeros(PADDED_ROWS - CONFIG.vocab_size, CONFIG.prefix_width)])
    theirs.load_state_dict(state, strict=True)
    given = inputs()
    pairs = zip(reference_prefix(theirs, given), reference_prefix(reference, given), strict=True)
    for (keys, values), (expected_keys, expected_values) in pairs:
        torch.testing.assert_close(keys, expected_keys, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(values, expected_values, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: state.pop("model.language_model.layers.1.self_attn.k_proj.weight"),
            r"model\.language_model\.layers\.1\.self_attn\.k_proj\.weight: expected for prefix\.blocks\.1\.qkv\.weight",
        ),
        (
            lambda state: state.update({"model.vision_tower.encoder.layers.0.mlp.fc3.weight": torch.zeros(1)}),
            r"fc3\.weight: expected no such key",
        ),
        (
            lambda state: state.update({"model.multi_modal_projector.linear.weight": torch.zeros(64, 31)}),
            r"vision\.project\.weight: expected shape \[64, 32\], found \[64, 31\]",
        ),
        (
            lambda state: state.update({"lm_head.weight": torch.zeros(PADDED_ROWS, 64)}),
            r"lm_head\.weight: expected the same numbers as .*embed_tokens\.weight, to which it is tied",
        ),
    ],
    ids=["missing", "left over", "shape", "untied"],
)
def test_keys_that_do_not_fit_are_listed(change: Callable, message: str, reference: torch.nn.Module) -> None:
    state = {key: tensor.clone() for key, tensor in reference.state_dict().items()}
    change(state)
    with pytest.raises(WeightsError, match=message):
        convert(state, CONFIG)


def test_a_vision_tower_of_another_depth_is_left_over_or_missing(reference: torch.nn.Module) -> None:
    with pytest.raises(WeightsError, match=r"vision_tower\.encoder\.layers\.2\.layer_norm1\.bias: expected for"):
        convert(reference.state_dict(), CONFIG.model_copy(update={"vision_depth": 3}))


def test_shards_are_read_together_and_pickles_are_not(reference: torch.nn.Module, tmp_path) -> None:
    state = {key: tensor.clone() for key, tensor in hub(reference.state_dict()).items()}
    keys = sorted(state)
    for number, part in enumerate((keys[::2], keys[1::2]), start=1):
        file = tmp_path / f"model-0000{number}-of-00002.safetensors"
        safetensors.torch.save_file({key: state[key].contiguous() for key in part}, file)
    assert read_weights(tmp_path).keys() == state.keys()
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(WeightsError, match=r"model-00002-of-00002\.safetensors: not a whole safetensors file"):
        read_weights(tmp_path)
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(WeightsError, match=r"nothing is ever unpickled\), found pytorch_model\.bin"):
        read_weights(pickled)


@pytest.mark.parametrize(("name", "expert_millions"), [("activemimic", 601.8), ("pi0", 314.7)])
def test_the_papers_sizes(name: str, expert_millions: float) -> None:
    with torch.device("meta"):
        model = FlowPolicy(preset(name, cameras=3, vocab_size=PALIGEMMA_VOCABULARY, state_dim=20, action_dim=20))
    millions = {
        part: sum(p.numel() for p in getattr(model, part).parameters()) / 1e6
        for part in ("vision", "text", "prefix", "expert")
    }
    config = model.config
    unread = config.prefix_width * (2 * config.heads * config.head_dim + 3 * config.prefix_mlp + 2) / 1e6
    assert millions["vision"] + millions["text"] + millions["prefix"] + unread == pytest.approx(2923.5, abs=0.5)
    assert millions["expert"] == pytest.approx(expert_millions, abs=0.05)


def test_a_training_starts_from_converted_weights(reference: torch.nn.Module, tmp_path) -> None:
    for layout, fresh in ((hub, "the expert"), (openpi, "")):
        weights = convert(layout(reference.state_dict()), CONFIG).weights
        safetensors.torch.save_file(weights, tmp_path / "model.safetensors")
        model = FlowPolicy(CONFIG)
        before = model.expert.norm.weight.clone()
        assert start_from(model, tmp_path) == fresh
        torch.testing.assert_close(model.prefix.last.kv.weight, weights["prefix.last.kv.weight"])
        expected = weights.get("expert.norm.weight", before)
        torch.testing.assert_close(model.expert.norm.weight, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("vision.norm.bias"), r"vision\.norm\.bias: expected, found nothing"),
        (lambda w: w.update({"vision.extra": torch.zeros(1)}), r"vision\.extra: expected no such key"),
        (
            lambda w: w.update({"text.weight": torch.zeros(9, 64)}),
            r"text\.weight: expected shape \[96, 64\], found \[9, 64\]",
        ),
    ],
    ids=["missing", "left over", "shape"],
)
def test_a_training_does_not_start_from_weights_that_do_not_fit(
    change: Callable, message: str, reference: torch.nn.Module, tmp_path
) -> None:
    weights = convert(hub(reference.state_dict()), CONFIG).weights
    change(weights)
    safetensors.torch.save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=message):
        start_from(FlowPolicy(CONFIG), tmp_path)
