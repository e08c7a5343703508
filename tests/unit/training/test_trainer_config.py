"""A training configuration is strict, and says what it did not understand."""

from pathlib import Path

import pytest
from activemimic_training.trainer.setup.train_config import TrainConfigError, load_train_config

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text("dataset: data\nout: run\noptimizer: {lr: 0.002}\n")
    return path


def test_the_shipped_configuration_is_the_measured_recipe():
    config = load_train_config(REPOSITORY / "training/configs/reaching_demo.yaml")
    assert (config.steps, config.batch_size, config.noise_draws, config.ema_decay) == (1600, 16, 2, 0.998)
    assert (config.optimizer.lr, config.optimizer.beta2, config.optimizer.weight_decay) == (1e-3, 0.95, 1e-4)
    assert (config.model.preset, config.policy.execution_horizon) == ("tiny", 8)


def test_overrides_reach_into_sections_and_make_them(path):
    config = load_train_config(path, ["optimizer.lr=3e-4", "steps=7", "cameras=[head]", "model.horizon=5"])
    assert (config.optimizer.lr, config.steps, config.cameras, config.model.horizon) == (3e-4, 7, ("head",), 5)


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("step=7", "step: expected no such field, found 7"),
        ("optimizer.lr=-1", "optimizer.lr: expected greater than 0, found -1"),
        ("optimizer.momentum=0.9", "optimizer.momentum: expected no such field"),
        ("steps=many", "steps: expected a valid integer.*found 'many'"),
        ("model.preset=huge", "model.preset: expected one of activemimic, pi0, small, tiny, found 'huge'"),
        ("steps", "expected field=value"),
        ("steps.more=1", "steps is a value, not a section"),
        ("steps=[", "not a YAML value"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_expected_and_found(path, override, complaint):
    base = ["steps=3", override] if override.startswith("steps.") else [override]
    with pytest.raises(TrainConfigError, match=complaint):
        load_train_config(path, base)


def test_missing_fields_and_files_are_named(tmp_path):
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(TrainConfigError, match=r"empty.yaml: dataset: expected a value, found nothing; out: "):
        load_train_config(tmp_path / "empty.yaml")
    with pytest.raises(TrainConfigError, match=r"none.yaml: cannot be read"):
        load_train_config(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- a")
    with pytest.raises(TrainConfigError, match="expected fields and values, found list"):
        load_train_config(tmp_path / "list.yaml")
