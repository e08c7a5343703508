"""A published checkpoint is the checkpoint, says what it is, and shows no evaluation of other weights."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from activemimic_policy.checked_policy import SHIPPED, checkpoint_folder
from activemimic_policy.checkpoint import load_checkpoint, save_checkpoint
from activemimic_rollout.agents.agents import weights_digest
from activemimic_rollout.publishing import PublishError, how, publish, published_evaluations
from activemimic_rollout.trials.results import Protocol, Trial, read_results, save_trials
from activemimic_training.trainer.setup.train_config import TrainConfig
from activemimic_training.trainer.train import train
from rich.console import Console


@pytest.fixture(scope="module")
def checkpoint(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    train(TrainConfig(dataset=dataset, out=out, steps=2, batch_size=2), Console(quiet=True))
    return out / "checkpoint"


def evaluation(folder: Path, policy: Path, successes: list[bool], task: str = "reaching") -> Path:
    protocol = Protocol("lockstep", task, str(policy), task, 22.0, weights=weights_digest(str(policy)))
    trials = [
        Trial(number, 1_000_000 + number, None, success, int(success), "lifted", "", 12.0, {})
        for number, success in enumerate(successes)
    ]
    save_trials(folder / "results.json", protocol, trials)
    return folder


def test_it_is_a_checkpoint_with_a_card(checkpoint: Path, dataset: Path, tmp_path: Path) -> None:
    published = tmp_path / "reaching"
    publish(checkpoint, dataset, [], published)
    assert load_checkpoint(published).spec == load_checkpoint(checkpoint).spec
    card = (published / "card.md").read_text()
    assert "2 steps" in card
    assert "| seeds | 0 to 1; trials have those from 1000000 on |" in card
    assert "Not evaluated yet." in card
    assert "batch_size: 2" in (published / "training.yaml").read_text()


def test_published_again_it_shows_its_evaluations(checkpoint: Path, dataset: Path, tmp_path: Path) -> None:
    published = tmp_path / "reaching"
    publish(checkpoint, dataset, [], published)
    tried = evaluation(tmp_path / "plan", published, [True, True, True, False])
    weights = weights_digest(str(published))
    publish(published, dataset, [tried], published)
    assert weights_digest(str(published)) == weights
    row = "| lock-step, the published trials | 3 of 4 | 30 to 95 % | 12.0 s |  |  |"
    assert row in (published / "card.md").read_text()
    assert len(published_evaluations(published)["plan"].trials) == 4


def test_without_its_dataset_it_keeps_what_its_card_says_of_that(
    checkpoint: Path, dataset: Path, tmp_path: Path
) -> None:
    published = tmp_path / "reaching"
    publish(checkpoint, dataset, [], published)
    before = (published / "card.md").read_text()
    publish(published, None, [], published)
    assert (published / "card.md").read_text() == before
    publish(published, None, [evaluation(tmp_path / "plan", published, [True])], published)
    assert (published / "card.md").read_text() == before.replace(
        "Not evaluated yet.",
        "| trials | success | 95 % | time of a success | first sight | head turned |\n|---|---|---|---|---|---|\n"
        "| lock-step, the published trials | 1 of 1 | 21 to 100 % | 12.0 s |  |  |",
    )


def test_what_was_never_published_needs_its_dataset(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(PublishError, match="checkpoint: expected the dataset that it learnt from, or a published"):
        publish(checkpoint, None, [], tmp_path / "published")
    assert not (tmp_path / "published").exists()


@pytest.mark.parametrize("card", [b"# reaching\n## What it learnt from\n", b"\xff\xfe"], ids=["cut", "not text"])
def test_a_damaged_card_is_not_carried_on(checkpoint: Path, dataset: Path, tmp_path: Path, card: bytes) -> None:
    published = tmp_path / "reaching"
    publish(checkpoint, dataset, [], published)
    (published / "card.md").write_bytes(card)
    with pytest.raises(PublishError, match=r"reaching: expected the dataset .* whose card\.md tells of that"):
        publish(published, None, [], published)
    assert (published / "card.md").read_bytes() == card


def test_a_published_evaluation_names_nothing_of_the_machine(checkpoint: Path, dataset: Path, tmp_path: Path) -> None:
    published = tmp_path / "reaching"
    publish(checkpoint, dataset, [], published)
    tried = evaluation(tmp_path / "ros", published, [True]) / "results.json"
    results = read_results(tried)
    diagnostics = {"recorder": {"out": str(tmp_path)}, "sim": {"real_time_factor": "1.0"}}
    recorded = replace(results.trials[0], episode=str(tmp_path / "episode"), diagnostics=diagnostics)
    save_trials(tried, results.protocol, [recorded])
    publish(published, dataset, [tried.parent], published)
    assert str(tmp_path) not in (published / "evaluations" / "ros.json").read_text()
    (trial,) = published_evaluations(published)["ros"].trials
    assert trial.diagnostics == {"sim": {"real_time_factor": "1.0"}}


def test_what_was_tried_as_it_is_meant_comes_first(checkpoint: Path, dataset: Path, tmp_path: Path) -> None:
    published = tmp_path / "reaching"
    publish(checkpoint, dataset, [], published)
    tried = [evaluation(tmp_path / name, published, [True]) for name in ("all_black", "flashing", "plan")]
    changed = ({"ablated_cameras": ["head"]}, {"perturbations": ["flashing_light"]}, {})
    for folder, changes in zip(tried, changed, strict=True):
        results = read_results(folder / "results.json")
        save_trials(folder / "results.json", replace(results.protocol, **changes), results.trials)
    publish(published, dataset, tried, published)
    assert list(published_evaluations(published)) == ["plan", "flashing", "all_black"]


def test_the_card_of_a_policy_that_does_several_tasks_names_them(
    checkpoint: Path, dataset: Path, tmp_path: Path
) -> None:
    published = tmp_path / "both"
    publish(checkpoint, dataset, [], published)
    tried = [evaluation(tmp_path / task, published, [True], task) for task in ("reaching", "finding")]
    publish(published, dataset, tried[:1], published)
    assert "| trials | success |" in (published / "card.md").read_text()
    publish(published, dataset, tried, published)
    card = (published / "card.md").read_text()
    assert "| task | trials | success |" in card
    assert "| finding | lock-step, the published trials | 1 of 1 |" in card


def test_an_evaluation_of_other_weights_is_refused_and_the_former_stays(
    checkpoint: Path, dataset: Path, tmp_path: Path
) -> None:
    published = tmp_path / "reaching"
    publish(checkpoint, dataset, [], published)
    before = (published / "card.md").read_text()
    with pytest.raises(PublishError, match=r"plan/results\.json: expected trials of the published weights"):
        publish(published, dataset, [evaluation(tmp_path / "plan", checkpoint, [True])], published)
    assert (published / "card.md").read_text() == before


def test_what_a_policy_cannot_be_served_with_is_refused(checkpoint: Path, dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(PublishError, match=r"policy: execution_horizon 99 exceeds horizon \d+"):
        publish(checkpoint, dataset, [], tmp_path / "reaching", {"execution_horizon": 99})
    assert not (tmp_path / "reaching").exists()


def test_a_policy_that_starts_from_less_noise_is_another_one_to_evaluations(
    checkpoint: Path, dataset: Path, tmp_path: Path
) -> None:
    published = tmp_path / "reaching"
    publish(checkpoint, dataset, [], published)
    tried = evaluation(tmp_path / "plan", published, [True])
    publish(published, dataset, [], published, {"noise_scale": 0.5, "execution_horizon": 1})
    spec = load_checkpoint(published).spec
    assert (spec.noise_scale, spec.execution_horizon) == (0.5, 1)
    assert "normal noise times 0.5" in (published / "card.md").read_text()
    with pytest.raises(PublishError, match=r"expected trials of the published weights"):
        publish(published, dataset, [tried], published)


@pytest.mark.parametrize("config", [None, '{"policy": {"noi', "[]", "{}"], ids=["none", "half", "a list", "empty"])
def test_weights_are_told_apart_where_the_configuration_cannot_be_read(
    checkpoint: Path, tmp_path: Path, config: str | None
) -> None:
    before = weights_digest(str(checkpoint))
    broken = shutil.copytree(checkpoint, tmp_path / "broken")
    (broken / "config.json").unlink()
    if config is not None:
        (broken / "config.json").write_text(config)
    assert weights_digest(str(broken)) == before


def test_a_card_of_another_dataset_is_refused(checkpoint: Path, dataset: Path, tmp_path: Path) -> None:
    made = load_checkpoint(checkpoint)
    made.training["dataset"]["episodes"] = 7
    save_checkpoint(tmp_path / "other", made)
    with pytest.raises(PublishError, match=r"expected the dataset that .* learnt from, with 7 episodes"):
        publish(tmp_path / "other", dataset, [], tmp_path / "published")
    assert not (tmp_path / "published").exists()


def test_what_was_not_published_is_not_overwritten(checkpoint: Path, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(PublishError, match="expected no such path or a published checkpoint, found one without card"):
        publish(checkpoint, dataset, [], tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_weights_beyond_float16_are_refused(checkpoint: Path, dataset: Path, tmp_path: Path) -> None:
    large = load_checkpoint(checkpoint)
    large.weights["text.weight"][0, 0] = 1e5
    save_checkpoint(tmp_path / "large", large)
    with pytest.raises(PublishError, match=r"text\.weight: expected weights up to 65504, as float16 has, found 100000"):
        publish(tmp_path / "large", dataset, [], tmp_path / "published")


@pytest.mark.parametrize("folder", sorted(SHIPPED.iterdir()), ids=lambda folder: folder.name)
def test_a_shipped_checkpoint_is_whole_found_by_its_name_and_evaluated_as_it_is(folder: Path) -> None:
    assert checkpoint_folder(folder.name) == folder
    checkpoint = load_checkpoint(folder)
    assert checkpoint.spec.fps == 10
    evaluations = published_evaluations(folder)
    assert evaluations
    for results in evaluations.values():
        assert results.protocol.weights == weights_digest(str(folder))
        assert how(results) in (folder / "card.md").read_text()


def test_a_folder_goes_before_a_shipped_name(checkpoint: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reaching").symlink_to(checkpoint)
    assert checkpoint_folder("reaching") == Path("reaching")
    assert checkpoint_folder("nowhere") == Path("nowhere")
