"""Runs of two processes, started by torchrun: `two_ranks.py DATASET OUT DIE`.

The run in OUT is trained, the network sharded block by block where OUT ends in `blocks`; with DIE above 0 the first
process ends itself by SIGKILL after that step.
"""

import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

from activemimic_training.trainer import train as module
from activemimic_training.trainer.optimization import distributed as parallel
from activemimic_training.trainer.optimization.distributed import join_ranks
from training_runs import QUIET, configured

SETTINGS = {"steps": 5, "checkpoint_every": 2, "validation": {"episodes": 1, "every": 3, "batches": 1}}


class _Dying(module.TrainLog):
    def add(self, metrics):  # type: ignore[no-untyped-def]
        super().add(metrics)
        if metrics.step == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    module.TrainLog = _Dying  # type: ignore[misc]
    with join_ranks("cpu") as ranks:  # once: torchrun's meeting point serves one meeting
        module.join_ranks = lambda _: nullcontext(ranks)
        for out in sys.argv[2].split(","):
            parallel.BLOCKWISE_FROM = 0 if out.endswith("blocks") else 10**9
            module.train(configured(Path(sys.argv[1]), Path(out), **SETTINGS), QUIET)
