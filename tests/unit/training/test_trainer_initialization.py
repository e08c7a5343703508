"""A stage goes on from an earlier one's checkpoint, and says which weights it took."""

import io
from pathlib import Path

import pytest
import torch
from activemimic_data.dataset import build_dataset
from activemimic_policy.checkpoint import load_checkpoint
from activemimic_policy.model.flow_policy import FlowPolicy
from activemimic_training.trainer.setup.initialization import take_over
from activemimic_training.trainer.setup.train_config import TrainConfigError, load_train_config
from activemimic_training.trainer.train import train
from pydantic import ValidationError
from rich.console import Console
from synthetic import write_episode
from training_runs import QUIET, configured

REPOSITORY = Path(__file__).parents[3]


def started(dataset, out, former, **changes):
    """The weights with which a run begins: at this rate they hardly move."""
    slow = {"warmup_steps": 0, "lr": 1e-12, "weight_decay": 0.0}
    console = Console(record=True, width=300, file=io.StringIO())
    train(configured(dataset, out, steps=1, start_from=former, **{"optimizer": slow, **changes}), console)
    return load_checkpoint(out / "checkpoint"), console.export_text()


def test_a_stage_begins_with_every_tensor_of_the_former_one(uninterrupted, dataset, tmp_path):
    former = uninterrupted[0] / "checkpoint"
    now, told = started(dataset, tmp_path / "two", former, model={"image_px": 32, "horizon": 6})
    before = load_checkpoint(former)
    for name, tensor in before.weights.items():
        assert torch.allclose(now.weights[name], tensor, atol=1e-6), name
    assert f"taken as they are: {len(before.weights)} tensors" in told
    assert "after its step 12" in told


def test_a_stage_may_have_other_cameras_and_other_words(uninterrupted, tmp_path):
    """Words and cameras keep their rows by name, and new ones are named."""
    former = uninterrupted[0] / "checkpoint"
    episode = write_episode(tmp_path / "episode", frames=18, instruction="grasp the bottle")
    build_dataset([episode], tmp_path / "other", fps=10, workers=1)
    now, told = started(tmp_path / "other", tmp_path / "two", former, cameras=["right_wrist", "head"])
    before = load_checkpoint(former)
    there, here = before.tokenizer.words(), now.tokenizer.words()
    for word in ("grasp", "the"):
        ours, theirs = now.weights["text.weight"][here.index(word)], before.weights["text.weight"][there.index(word)]
        assert torch.allclose(ours, theirs, atol=1e-6), word
    cameras = before.weights["vision.camera"]
    assert torch.allclose(
        now.weights["vision.camera"], cameras[[before.spec.cameras.index("right_wrist"), 0]], atol=1e-6
    )
    assert torch.allclose(now.weights["expert.action_in.weight"], before.weights["expert.action_in.weight"], atol=1e-6)
    assert (
        "text.weight: taken [pad], [unk], [begin], grasp, the; at random bottle; not taken behind, cube, wall" in told
    )
    assert "vision.camera: taken right_wrist, head; at random nothing; not taken left_wrist" in told


def test_a_robot_of_other_slots_takes_every_tensor_through_the_padded_actions(uninterrupted):
    former = load_checkpoint(uninterrupted[0] / "checkpoint")
    model = FlowPolicy(former.model.model_copy(update={"state_dim": 7, "action_dim": 7, "horizon": 9}))
    taken = take_over(model, former.spec, former.tokenizer, former, uninterrupted[0])
    assert set(taken.whole) == set(former.weights)
    assert all(torch.equal(tensor, former.weights[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model": {"preset": "small", "image_px": 32}}, r"vision_width: expected 96 \(of the checkpoint\), found 320"),
        ({"model": {"image_px": 64}}, r"model.image_px: expected 32 \(of the checkpoint\), found 64"),
    ],
)
def test_another_network_is_refused_naming_what_differs(uninterrupted, dataset, tmp_path, changes, complaint):
    with pytest.raises(TrainConfigError, match=complaint):
        started(dataset, tmp_path, uninterrupted[0] / "checkpoint", **changes)


def test_frozen_parts_stay_as_they_are_and_the_rest_learns(uninterrupted, dataset, tmp_path):
    former = uninterrupted[0] / "checkpoint"
    frozen = ("vision", "text", "prefix")
    train(configured(dataset, tmp_path, start_from=former, freeze=frozen, steps=6, checkpoint_every=3), QUIET)
    before, now = (load_checkpoint(folder).weights for folder in (former, tmp_path / "checkpoint"))
    for name in before:
        assert torch.equal(before[name], now[name]) == (name.split(".")[0] in frozen), name


def test_epochs_count_the_rows_that_are_trained_on(dataset, tmp_path):
    config = configured(dataset, tmp_path, epochs=2, steps=None, batch_size=8)
    summary = train(config, QUIET)
    rows = 8 + 6 + 7  # at 10 of the episodes' 30 frames a second
    assert summary.steps == -(-2 * rows // 8)


def test_contradicting_fields_are_refused(dataset, tmp_path):
    for changes, complaint in (
        ({"epochs": 2}, "steps 12 and epochs 2: expected one of the two"),
        ({"start_from": "a", "model": {"weights": "b"}}, "start_from and model.weights: expected one"),
        ({"freeze": ["vision", "text", "prefix", "expert"]}, "leaves nothing to train"),
    ):
        with pytest.raises(ValidationError, match=complaint):
            configured(dataset, tmp_path, **changes)


def test_the_papers_stages_are_its_table():
    warmup, whole, robot = (
        load_train_config(REPOSITORY / f"training/configs/paper_{stage}.yaml")
        for stage in ("stage1_warmup", "stage1_train", "stage2_robot")
    )
    assert [it.steps for it in (warmup, whole, robot)] == [2000, 500_000, None]
    assert robot.epochs == 5
    assert [it.optimizer.warmup_steps for it in (warmup, whole, robot)] == [200, 1000, 100]
    assert {it.batch_size for it in (warmup, whole, robot)} == {64}
    assert set(warmup.freeze) == {"vision", "text", "prefix"}
    assert whole.freeze == robot.freeze == ()
    assert whole.start_from == warmup.out / "checkpoint"
    assert robot.start_from == whole.out / "checkpoint"
    assert {it.model.preset for it in (warmup, whole, robot)} == {"activemimic"}
