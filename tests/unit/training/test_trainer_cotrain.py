"""Several datasets in every batch, each by its own statistics; the policy that is served is the first one's."""

import pytest
from activemimic_data.dataset import build_dataset
from activemimic_policy.checkpoint import load_checkpoint
from activemimic_training.trainer import train as module
from activemimic_training.trainer.setup.train_config import TrainConfigError
from activemimic_training.trainer.train import train
from pydantic import ValidationError
from synthetic import write_episode
from training_runs import QUIET, configured, losses


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    root = tmp_path_factory.mktemp("other")
    episode = write_episode(root / "episode", frames=30, phase=1.5, instruction="wave at the camera")
    build_dataset([episode], root / "dataset", fps=10, workers=1)
    return root / "dataset"


def test_a_batch_holds_both_and_the_checkpoint_is_the_first_ones(uninterrupted, dataset, other, tmp_path, monkeypatch):
    seen = []

    def watched(make, keys, workers):
        for key in keys:
            seen.append(make(key))
            yield seen[-1]

    monkeypatch.setattr(module, "prefetched", watched)
    train(configured(dataset, tmp_path, steps=2, cotrain=[{"dataset": other, "share": 0.25}]), QUIET)
    made, alone = load_checkpoint(tmp_path / "checkpoint"), load_checkpoint(uninterrupted[0] / "checkpoint")
    assert made.normalization == alone.normalization
    assert made.spec.instructions == alone.spec.instructions
    waves = made.tokenizer.words().index("wave")
    told = [(batch.inputs.text == waves).any(dim=1).tolist() for batch in seen]
    assert told == [[False, False, False, True]] * 2


def test_a_batch_in_parts_holds_the_same_rows(dataset, other, tmp_path):
    both = {"steps": 4, "cotrain": [{"dataset": other, "share": 0.3}], "augment": True}
    train(configured(dataset, tmp_path / "whole", **both), QUIET)
    train(configured(dataset, tmp_path / "parts", accumulate=2, **both), QUIET)
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), rel=1e-5)


def test_datasets_that_cannot_stand_in_one_batch_are_refused(dataset, other, episodes, tmp_path):
    build_dataset(episodes[:1], tmp_path / "fast", fps=30, workers=1)
    with pytest.raises(TrainConfigError, match=r"cotrain .*fast: fps: expected 10 \(of dataset\), found 30"):
        train(configured(dataset, tmp_path / "out", cotrain=[{"dataset": tmp_path / "fast", "share": 0.5}]), QUIET)
    with pytest.raises(ValidationError, match="leave every dataset a row of batch_size 4, found 0 rows"):
        configured(dataset, tmp_path, cotrain=[{"dataset": other, "share": 0.01}])
