"""What pretraining on egocentric video does for a robot's policy: three starts, one robot dataset.

    python benchmarks/pretraining.py CORPUS ROBOT_DATASET --out out/pretraining

Stage 1 on CORPUS (`activemimic ego export`): all 27 numbers (full), and the wrists' 18 alone (wrist_only). Stage 2 on
ROBOT_DATASET from each of the two, and from nothing. Writes every run, stage1.png and stage2.png, and figures.json
with the held-out action error of the robot's policies at every look. Killed, it goes on.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from activemimic_training.trainer.checks.learning_curves import plot_losses
from activemimic_training.trainer.checks.validation import FIGURES, read_validations
from activemimic_training.trainer.setup.train_config import TrainConfig
from activemimic_training.trainer.train import train

VARIANTS = ("full", "wrist_only")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("robot", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out/pretraining"))
    parser.add_argument("--steps", type=int, nargs=2, default=(2000, 2000), metavar=("STAGE1", "STAGE2"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of stage 2; one run of each start for each")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--image-px", type=int, default=96)
    parser.add_argument("--horizon", type=int, default=16, help="steps of a chunk")
    parser.add_argument("--robot-cameras", nargs="+", help="default: all of the dataset's")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--confidence-weighting", action="store_true", help="in stage 1")
    arguments = parser.parse_args()

    stage1 = {variant: arguments.out / "stage1" / variant for variant in VARIANTS}
    for variant, folder in stage1.items():
        weighting = {"confidence_weighting": arguments.confidence_weighting}
        run(arguments, folder, arguments.corpus, arguments.steps[0], variant=variant, cameras=["head"], **weighting)
    (arguments.out / "stage1.png").write_bytes(plot_losses(stage1))

    starts = {"none": None, **{variant: folder / "checkpoint" for variant, folder in stage1.items()}}
    stage2 = {}
    for seed in arguments.seeds:
        for name, start in starts.items():
            folder = stage2[f"{name}, seed {seed}"] = arguments.out / "stage2" / f"{name}_{seed}"
            changes = {"seed": seed, "start_from": start, "cameras": arguments.robot_cameras}
            run(arguments, folder, arguments.robot, arguments.steps[1], **changes)
    (arguments.out / "stage2.png").write_bytes(plot_losses(stage2))
    looks = {name: [asdict(it) for it in read_validations(folder / FIGURES)] for name, folder in stage2.items()}
    (arguments.out / "figures.json").write_text(json.dumps(looks, indent=2) + "\n")
    for name, found in looks.items():
        print(f"{name:22}" + "  ".join(f"step {it['step']}: {it['action_error']:.4f}" for it in found))


def run(arguments: argparse.Namespace, out: Path, dataset: Path, steps: int, **changes: Any) -> None:
    """One training run; all are alike but for `changes`."""
    settings = {
        "dataset": dataset,
        "out": out,
        "steps": steps,
        "batch_size": arguments.batch_size,
        "threads": arguments.threads,
        "model": {"preset": "tiny", "image_px": arguments.image_px, "horizon": arguments.horizon},
        "policy": {"execution_horizon": max(1, arguments.horizon // 2)},
        "optimizer": {"warmup_steps": min(100, steps // 10)},
        "validation": {"episodes": 0.1, "every": max(1, steps // 4), "batches": 4},
        "images": "video",
        "workers": 1,
        "checkpoint_every": max(1, steps // 4),
    }
    summary = train(TrainConfig.model_validate({**settings, **changes}))
    print(f"{out}: {summary.steps} steps, loss {summary.loss_first:.3f} to {summary.loss_last:.3f}", flush=True)


if __name__ == "__main__":
    main()
