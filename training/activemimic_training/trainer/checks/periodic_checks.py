"""Looks at a policy while it trains: action errors on held-out episodes, trials in the simulator, the best so far."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from activemimic_training.trainer.checks.closed_loop import success_rate
from activemimic_training.trainer.checks.log import TrainLog
from activemimic_training.trainer.checks.validation import Validation, ValidationLog, Validator
from activemimic_training.trainer.optimization.distributed import Ranks, reshard
from activemimic_training.trainer.optimization.network import Network
from activemimic_training.trainer.optimization.optimisation import Optimisation
from activemimic_training.trainer.setup.train_config import TrainConfig
from activemimic_training.trainer.state.checkpoints import BEST, POLICY, Checkpoints


class PeriodicChecks:
    """Knows when to look, and keeps what was found."""

    def __init__(
        self,
        config: TrainConfig,
        steps: int,
        done: int,
        validator: Validator | None,
        command: list[str],
        network: Network,
        optimisation: Optimisation,
        checkpoints: Checkpoints,
        ranks: Ranks,
    ) -> None:
        """`command` calls the command line; it is used by the closed loop alone."""
        self._config, self._steps, self._validator, self._command = config, steps, validator, command
        self._network, self._optimisation, self._checkpoints = network, optimisation, checkpoints
        self._ranks = ranks
        self._kept = ValidationLog(config.out, checkpoints.spec.slots, done)

    def due(self, step: int) -> bool:
        """Whether there is anything to look at after `step` steps."""
        return self._validates(step) or self._tries(step)

    def look(self, step: int, log: TrainLog | None) -> None:
        """Measures, and keeps the policy as `best` if nothing before was better. For trials its checkpoint is saved."""
        errors = self._errors() if self._validates(step) else None
        success = self._success(step) if self._tries(step) else None
        found = Validation(step, None if errors is None else float(np.nanmean(errors)), success)
        # Where there are trials, they decide; a look without them cannot be the best.
        decides = success is not None or self._config.closed_loop is None
        best = self._best()
        if decides and found.better_than(best):
            best = found
            self._checkpoints.save_policy(BEST, step, validation=asdict(found))
        self._kept.add(found, errors, write=self._ranks.first)
        if log is None:
            return
        if errors is not None:
            log.show_errors(step, self._checkpoints.spec.slots, errors)
        log.show(found, best)

    def _validates(self, step: int) -> bool:
        every = self._config.validation.every if self._config.validation else 0
        return self._validator is not None and every > 0 and (step % every == 0 or step == self._steps)

    def _tries(self, step: int) -> bool:
        settings = self._config.closed_loop
        return settings is not None and (step % settings.every == 0 or step == self._steps)

    def _best(self) -> Validation | None:
        best = None
        for look in self._kept.looks:
            decides = look.success is not None or self._config.closed_loop is None
            best = look if decides and look.better_than(best) else best
        return best

    def _errors(self) -> npt.NDArray[Any]:
        assert self._validator is not None
        self._network.eval()
        with self._optimisation.averaged():
            reshard(self._network)
            errors = self._validator.action_error(self._network, self._ranks)
        reshard(self._network)
        self._network.train()
        return errors

    def _success(self, step: int) -> float:
        assert self._config.closed_loop is not None
        self._checkpoints.save(step)
        out = self._config.out / "trials" / f"step_{step:07d}"
        rate = 0.0
        if self._ranks.first:
            rate = success_rate(self._command, self._config.closed_loop, self._config.out / POLICY, out)
        return float(self._ranks.sum(torch.tensor(rate, dtype=torch.float64)))
