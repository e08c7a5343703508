"""What a run keeps of itself: the policy to serve, the best one, and the state to go on from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activemimic_policy.checkpoint import Checkpoint, save_checkpoint
from activemimic_policy.model.model_config import ModelConfig
from activemimic_policy.normalization import Normalization
from activemimic_policy.spec import PolicySpec
from activemimic_policy.tokenizer import Tokenizer

from activemimic_training.trainer.optimization.distributed import Ranks, whole
from activemimic_training.trainer.optimization.lora import merged
from activemimic_training.trainer.optimization.optimisation import Optimisation
from activemimic_training.trainer.setup.train_config import LoraSection
from activemimic_training.trainer.state.resume import save_state

POLICY, BEST, STATE = "checkpoint", "best", "checkpoints/last"


@dataclass(frozen=True)
class Checkpoints:
    """Writes the folders of a run; each is whole or absent, whenever the process dies."""

    folder: Path
    optimisation: Optimisation
    model: ModelConfig
    spec: PolicySpec
    normalization: Normalization
    tokenizer: Tokenizer
    contract_yaml: str
    identity: dict[str, Any]
    batch_size: int
    ranks: Ranks
    lora: LoraSection | None = None

    def save(self, step: int) -> None:
        """The policy and the state after `step` steps."""
        self.save_policy(POLICY, step)
        save_state(self.folder / STATE, step, self.identity, self.optimisation.state(), self.ranks)

    def save_policy(self, name: str, step: int, **about: Any) -> None:
        """The averaged weights as a checkpoint of that name."""
        training = {**self.identity, "steps_done": step, "frames_seen": step * self.batch_size, **about}
        weights = whole(self.optimisation.averaged_weights())
        if not self.ranks.first:
            return
        checkpoint = Checkpoint(
            model=self.model,
            spec=self.spec,
            weights=merged(weights, self.lora),
            normalization=self.normalization,
            tokenizer=self.tokenizer,
            contract_yaml=self.contract_yaml,
            training=training,
        )
        save_checkpoint(self.folder / name, checkpoint)
