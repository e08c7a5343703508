"""A run from a dataset on disk to a checkpoint that serves; killed, it goes on as if it had not been."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch
from activemimic_data.dataset import Dataset
from activemimic_description.interface import fingerprint
from activemimic_policy.checkpoint import load_checkpoint
from activemimic_policy.inference import load_policy
from activemimic_policy.model.flow_policy import FlowPolicy
from activemimic_policy.transforms import Sample, apply
from activemimic_policy.unified_action import UNIFIED_SLOTS, WRIST_SLOTS
from activemimic_training.trainer.data.batches import Batches, Examples
from activemimic_training.trainer.data.samples import decode_frames, load_rows
from activemimic_training.trainer.setup.train_config import TrainConfigError
from activemimic_training.trainer.state.resume import ResumeError
from activemimic_training.trainer.train import TrainingError, train
from safetensors.torch import save_file
from training_runs import QUIET, configured, losses


def test_a_run_leaves_a_checkpoint_that_serves_the_dataset(uninterrupted, dataset):
    out, _ = uninterrupted
    policy = load_policy(out / "checkpoint", threads=None, seed=0)
    rows = Dataset(dataset)
    assert policy.spec.slots == tuple(rows.slots)
    assert policy.spec.cameras == tuple(rows.cameras)
    assert policy.spec.instructions == tuple(rows.tasks)
    assert (policy.spec.fps, policy.spec.horizon) == (10, 4)
    assert (policy.spec.interface, policy.spec.fingerprint) == (rows.interface, rows.fingerprint)
    images = {camera: next(rows.frames(camera, 0)) for camera in rows.cameras}
    chunk = policy.infer(images, rows.state[0], rows.tasks[0])
    assert chunk.shape == (4, 20)
    assert np.abs(chunk - rows.state[0]).max() <= 2 * np.pi + 1e-6  # even of a network that has learned nothing


def test_a_run_tells_how_it_went(uninterrupted):
    out, summary = uninterrupted
    told = json.loads((out / "summary.json").read_text())
    assert told.keys() == {"loss_first", "loss_last", "steps", "frames_per_s", "parameters"}
    assert told["steps"] == summary.steps == 12
    assert told["loss_last"] == pytest.approx(np.mean(losses(out)))
    weights = load_checkpoint(out / "checkpoint").weights
    assert told["parameters"] == sum(tensor.numel() for tensor in weights.values())
    assert any((out / "tensorboard").iterdir())


def test_the_loss_falls_and_the_served_weights_are_the_average(dataset, tmp_path):
    summary = train(configured(dataset, tmp_path, steps=60, batch_size=8, ema_decay=0.5), QUIET)
    assert summary.loss_first > 1.0
    assert np.mean(losses(tmp_path)[-10:]) < 0.8 * summary.loss_first
    last = tmp_path / "checkpoints/last"
    average, final = (safetensors.torch.load_file(last / f"{name}.safetensors") for name in ("ema", "model"))
    served = load_checkpoint(tmp_path / "checkpoint").weights
    assert all(torch.equal(served[name], average[name]) for name in served)
    assert not all(torch.equal(served[name], final[name]) for name in served)


def kill_at(monkeypatch, step):
    """Makes the run die, as by a signal, after `step` steps."""
    from activemimic_training.trainer import train as module

    class Dying(module.TrainLog):
        def add(self, metrics):
            super().add(metrics)
            if metrics.step == step:
                raise KeyboardInterrupt

    monkeypatch.setattr(module, "TrainLog", Dying)


@pytest.mark.parametrize("step", [3, 8])
def test_a_killed_run_started_again_gives_the_losses_and_weights_of_one_that_was_not(
    dataset, tmp_path, uninterrupted, monkeypatch, step
):
    """Killed before its first checkpoint it starts anew; killed later it goes on from the checkpoint at step 5."""
    with monkeypatch.context() as patch:
        kill_at(patch, step)
        with pytest.raises(KeyboardInterrupt):
            train(configured(dataset, tmp_path), QUIET)
    assert len(losses(tmp_path)) == step
    torch.manual_seed(123)  # nothing may depend on what the process drew before
    train(configured(dataset, tmp_path), QUIET)
    whole, _ = uninterrupted
    assert losses(tmp_path) == losses(whole)
    ours, theirs = (load_checkpoint(out / "checkpoint").weights for out in (tmp_path, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_finished_run_started_again_changes_nothing_and_tells_the_same(uninterrupted, dataset, monkeypatch):
    out, summary = uninterrupted
    monkeypatch.setattr(Dataset, "frames", lambda *_: pytest.fail("decoded again"))
    assert train(configured(dataset, out), QUIET) == summary


def test_a_folder_that_holds_another_run_is_refused_naming_the_difference(uninterrupted, dataset):
    out, _ = uninterrupted
    with pytest.raises(ResumeError, match=r"config.optimizer.lr \(now 0.1, then 0.001\)"):
        train(configured(dataset, out, optimizer={"warmup_steps": 2, "lr": 0.1}), QUIET)


def test_other_threads_or_memory_are_no_other_run(uninterrupted, dataset):
    out, summary = uninterrupted
    assert train(configured(dataset, out, threads=2, max_image_gb=1.0), QUIET) == summary


def test_a_damaged_state_is_named(dataset, tmp_path):
    train(configured(dataset, tmp_path, steps=1), QUIET)
    weights = tmp_path / "checkpoints/last/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:50])
    with pytest.raises(ResumeError, match="checkpoints/last: damaged"):
        train(configured(dataset, tmp_path, steps=1), QUIET)


def test_a_loss_that_becomes_nan_stops_the_run_and_leaves_the_last_checkpoint(dataset, tmp_path, monkeypatch):
    real = FlowPolicy.losses
    calls = []

    def loss(*arguments):
        calls.append(1)
        return real(*arguments) * (float("nan") if len(calls) == 7 else 1)

    monkeypatch.setattr(FlowPolicy, "losses", loss)
    with pytest.raises(TrainingError, match=r"the loss became nan at step 7; the checkpoint before it is whole"):
        train(configured(dataset, tmp_path), QUIET)
    assert load_checkpoint(tmp_path / "checkpoint").training["steps_done"] == 5
    assert len(losses(tmp_path)) == 6


def test_a_run_may_use_some_of_the_cameras_in_an_order_of_its_own(dataset, tmp_path):
    train(configured(dataset, tmp_path, steps=1, cameras=["right_wrist", "head"]), QUIET)
    policy = load_policy(tmp_path / "checkpoint", threads=None)
    assert policy.spec.cameras == ("right_wrist", "head")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"policy": {"execution_horizon": 5}}, "execution_horizon 5 exceeds horizon 4"),
        ({"policy": {"absolute_slots": ["hand"]}}, "absolute_slots hand are not among"),
        ({"model": {"image_px": 30}}, "image_px 30 must be a multiple of 16"),
        ({"model": {"image_px": 32, "horizon": 8, "text_length": 4}}, "at most 3"),
    ],
)
def test_a_configuration_that_does_not_fit_the_dataset_is_refused_at_once(dataset, tmp_path, changes, complaint):
    with pytest.raises(TrainConfigError, match=complaint):
        train(configured(dataset, tmp_path, **changes), QUIET)


def batches_of(dataset, out, batch_size, draws=1, seed=0, weights=(1.0,), max_delay=0):
    rows, checkpoint = Dataset(dataset), load_checkpoint(out / "checkpoint")
    px = checkpoint.model.image_px
    data = replace(load_rows(rows), frames=decode_frames(rows, checkpoint.spec.cameras, px, max_image_gb=1.0))
    examples = Examples(
        data, rows.tasks, checkpoint.tokenizer, checkpoint.spec, checkpoint.normalization, checkpoint.model
    )
    return Batches(examples, checkpoint.model, batch_size, draws, seed, weights, max_delay)


def test_training_and_serving_give_the_network_the_same_numbers(uninterrupted, dataset):
    out, _ = uninterrupted
    rows = Dataset(dataset)
    batches = batches_of(dataset, out, 1)
    trained = batches.at(0)
    row = batches.rows(0)[0]
    episode = next(e for e in rows.episodes if e.start <= row < e.stop)
    raw = {camera: list(rows.frames(camera, episode.index))[row - episode.start][None] for camera in rows.cameras}
    policy = load_policy(out / "checkpoint", threads=None)
    sample = apply(policy._input, Sample(raw, rows.state[row][None].astype(np.float64)))
    served = policy._inputs(sample, episode.task)
    for name in ("images", "image_mask", "text", "text_mask", "state"):
        assert torch.allclose(getattr(trained.inputs, name), getattr(served, name), atol=1e-6), name


def test_every_row_is_seen_once_an_epoch_and_a_step_is_the_same_whenever_it_is_asked_for(uninterrupted, dataset):
    out, _ = uninterrupted
    one = batches_of(dataset, out, 3)
    count = len(one.examples.data.state)
    seen = [one.examples.row(draw, 0) for draw in range(2 * count)]
    assert sorted(seen[:count]) == sorted(seen[count:]) == list(range(count))
    assert seen[:count] != seen[count:]
    assert batches_of(dataset, out, 3).rows(5).tolist() == one.rows(5).tolist()
    assert batches_of(dataset, out, 3, seed=1).rows(0).tolist() != one.rows(0).tolist()


def test_with_a_delay_a_chunks_first_steps_are_given_and_the_rest_has_one_time_a_draw(uninterrupted, dataset):
    out, _ = uninterrupted
    batches = batches_of(dataset, out, 8, draws=4, max_delay=2)
    t = batches.at(0).t.flatten(0, 1).numpy()
    given = (t == 0).sum(axis=1)
    assert sorted(set(given.tolist())) == [0, 1, 2]
    for times, count in zip(t, given, strict=True):
        assert (times[:count] == 0).all()
        assert len(set(times[count:].tolist())) == 1
        assert times[-1] > 0
    many = batches_of(dataset, out, 64, draws=8, max_delay=2).at(0).t
    assert (many[..., 0, 0] == 0).float().mean().item() == pytest.approx(0.5, abs=0.1)  # half is answered freely


def test_a_slot_without_weight_does_not_change_the_loss(uninterrupted, dataset):
    out, _ = uninterrupted
    checkpoint = load_checkpoint(out / "checkpoint")
    slots = len(checkpoint.spec.slots)
    model = FlowPolicy(checkpoint.model)
    model.load_state_dict(checkpoint.weights)

    def loss(weights, shift):
        batch = batches_of(dataset, out, 4, weights=weights).at(0)
        # At t = 1 the network sees noise alone, so that only the target tells of the actions.
        moved = batch.actions.clone()
        moved[..., 0] += shift
        return model.loss(batch.inputs, moved, batch.weight, batch.noise, torch.ones_like(batch.t)).item()

    masked = [0.0, *[1.0] * (slots - 1)]
    assert loss(masked, 0.0) == loss(masked, 3.0)
    assert loss([1.0], 0.0) != loss([1.0], 3.0)


def test_an_unknown_slot_weight_is_refused(dataset, tmp_path):
    with pytest.raises(TrainConfigError, match="slot_weights: tail: expected some of"):
        train(configured(dataset, tmp_path, slot_weights={"tail": 2.0}), QUIET)


def test_the_wrist_only_variant_predicts_the_wrists_alone(dataset, tmp_path):
    with pytest.raises(TrainConfigError, match=r"wrist_only needs the 18 wrist slots .* missing: left_wrist_x"):
        train(configured(dataset, tmp_path / "out", variant="wrist_only"), QUIET)

    # As from egocentric video: two of the slots are of the camera, the others of the wrists.
    egocentric = shutil.copytree(dataset, tmp_path / "egocentric")
    names = [*WRIST_SLOTS, *UNIFIED_SLOTS[:2]]
    about, info = (json.loads((egocentric / f"meta/{name}.json").read_text()) for name in ("activemimic", "info"))
    about["interface"]["slots"] = [
        {**slot, "name": n} for slot, n in zip(about["interface"]["slots"], names, strict=True)
    ]
    about["fingerprint"] = fingerprint(about["interface"])
    for feature in ("action", "observation.state"):
        info["features"][feature]["names"] = names
    for name, data in (("activemimic", about), ("info", info)):
        (egocentric / f"meta/{name}.json").write_text(json.dumps(data))
    policy = {"execution_horizon": 2, "num_inference_steps": 2, "absolute_slots": []}
    train(configured(egocentric, tmp_path / "out", variant="wrist_only", policy=policy, steps=2), QUIET)
    checkpoint = load_checkpoint(tmp_path / "out/checkpoint")
    assert checkpoint.spec.slots == WRIST_SLOTS
    assert checkpoint.model.action_dim == 18
    assert checkpoint.model.action_width == 32


def test_the_sft_only_variant_starts_without_learnt_actions(uninterrupted, dataset, tmp_path):
    out, _ = uninterrupted
    trained = {"image_px": 32, "horizon": 4, "weights": out / "checkpoint"}
    with pytest.raises(TrainConfigError, match=r"sft_only starts without actions .* has an expert"):
        train(configured(dataset, tmp_path / "a", variant="sft_only", model=trained), QUIET)
    weights = load_checkpoint(out / "checkpoint").weights
    save_file({k: v for k, v in weights.items() if not k.startswith("expert.")}, tmp_path / "prefix.safetensors")
    without = {**trained, "weights": tmp_path / "prefix.safetensors"}
    train(configured(dataset, tmp_path / "b", variant="sft_only", model=without, steps=2), QUIET)
    assert (tmp_path / "b/checkpoint").is_dir()
