"""What the trainer's input costs, alone and beside the model, from memory, from the disk and from the videos.

    python benchmarks/training_input.py training/configs/reaching_demo.yaml dataset=out/demo/dataset

Decoding: batches as fast as they can be made. Waiting: the share of a training step that the model waits for its
batch; near zero, the model is the limit.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from activemimic_data.dataset import Dataset
from activemimic_policy.model.flow_policy import FlowPolicy
from activemimic_training.trainer.data.batches import Batches, Examples
from activemimic_training.trainer.data.prefetch import prefetched
from activemimic_training.trainer.data.samples import decode_frames, fit_normalization, load_rows
from activemimic_training.trainer.data.video_frames import VideoFrames
from activemimic_training.trainer.optimization.network import Network
from activemimic_training.trainer.setup.run_plan import plan_policy
from activemimic_training.trainer.setup.train_config import load_train_config


def main() -> None:
    """Print a table: source, workers, samples/s alone, samples/s in training, and how long the model waits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--batches", type=int, default=20, help="timed, after two that are not")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="numbers of threads to try")
    arguments = parser.parse_args()
    config = load_train_config(arguments.config, arguments.overrides)
    torch.set_num_threads(config.threads or torch.get_num_threads())
    dataset = Dataset(config.dataset)
    spec, tokenizer, model = plan_policy(config, dataset)
    rows = load_rows(dataset)
    normalization = fit_normalization(rows, spec)
    network = Network(FlowPolicy(model), spec.num_inference_steps, config.device, config.precision, config.recompute)
    print(f"{len(rows.state)} rows, {len(spec.cameras)} cameras, {model.image_px} px, batches of {config.batch_size}")
    print(f"{'images':8}{'workers':>8}{'alone':>16}{'in training':>16}{'waiting':>9}")
    for source in ("memory", "disk", "video"):
        if source == "video":
            frames = VideoFrames(dataset, spec.cameras, model.image_px)
        else:
            disk = config.out if source == "disk" else None
            frames = decode_frames(dataset, spec.cameras, model.image_px, config.max_image_gb, disk=disk)
        data = replace(rows, frames=frames)
        examples = Examples(data, dataset.tasks, tokenizer, spec, normalization, model)
        batches = Batches(
            examples,
            model,
            config.batch_size,
            config.noise_draws,
            config.seed,
            device=config.device,
            augment=config.augment,
            relight=config.relight,
        )
        for workers in arguments.workers:
            alone, _ = timed(batches, workers, arguments.batches, None)
            trained, waiting = timed(batches, workers, arguments.batches, network)
            rates = [f"{config.batch_size / seconds:.0f} samples/s" for seconds in (alone, trained)]
            print(f"{source:8}{workers:8d}{rates[0]:>16}{rates[1]:>16}{waiting:9.1%}", flush=True)


def timed(batches: Batches, workers: int, count: int, network: Network | None) -> tuple[float, float]:
    """Median seconds of a batch, with the network's loss and gradients if there is one; and the share of waiting."""
    made = prefetched(batches.at, range(count + 2), workers)
    seconds, waited = [], []
    begin = time.perf_counter()
    for batch in islice(made, count + 2):
        waited.append(time.perf_counter() - begin)
        if network is not None:
            network(batch)[0].sum().backward()
            network.zero_grad()
        seconds.append(time.perf_counter() - begin)
        begin = time.perf_counter()
    return float(np.median(seconds[2:])), sum(waited[2:]) / sum(seconds[2:])


if __name__ == "__main__":
    main()
