"""One process or many, as `torchrun` starts them: who this one is, and how the network is spread over them.

Weights, averages and moments are sharded (FSDP2): every process keeps its part of each. Of a large network a block's
weights are whole only while it runs; a small one is whole during a step, which takes far fewer messages.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from activemimic_training.trainer.optimization.network import Network

# The others wait while the first evaluates in the simulator.
_LONGEST_WAIT = timedelta(hours=12)

BLOCKWISE_FROM = 100_000_000  # parameters; below, 400 MB of whole weights are no burden


@dataclass(frozen=True)
class Ranks:
    """This process among all: `rank` of `count`, on `device`."""

    device: str
    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and tells."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum of every process's `values`."""
        if self.count > 1:
            values = values.to(self.device)
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Returns when every process has come here."""
        if self.count > 1:
            dist.barrier()

    def shared(self, text: str) -> str:
        """The first process's `text`."""
        box = [text]
        if self.count > 1:
            dist.broadcast_object_list(box)
        return box[0]


@contextmanager
def join_ranks(device: str) -> Iterator[Ranks]:
    """This process among those that torchrun started; alone without it. On GPUs, each has its own."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Ranks(device)
        return
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
    dist.init_process_group(backend, timeout=_LONGEST_WAIT)
    try:
        yield Ranks(device, dist.get_rank(), count)
    finally:
        dist.destroy_process_group()


def spread(network: Network, ranks: Ranks) -> None:
    """Shards the network over all processes, block by block if it is large; alone it stays as it is."""
    if ranks.count == 1:
        return
    # Keys and values are views; nothing changes them in place.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    mesh = init_device_mesh(torch.device(ranks.device).type, (ranks.count,))
    for parameter in network.parameters():
        parameter.data = parameter.data.contiguous()
    if sum(parameter.numel() for parameter in network.parameters()) >= BLOCKWISE_FROM:
        policy = network.policy
        for blocks in (policy.vision.blocks, policy.prefix.blocks, policy.expert.blocks):
            for block in blocks:
                fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)


def reshard(network: Network) -> None:
    """Forgets whole weights that sampling has left, because they are about to change."""
    if isinstance(network, FSDPModule):
        network.reshard()


def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with all their parts, on the CPU; every process must ask."""
    return {name: (t.full_tensor() if isinstance(t, DTensor) else t).cpu() for name, t in tensors.items()}


def fill(target: Tensor, source: Tensor) -> None:
    """Copies `source`, whole or sharded alike, into `target`; every process must."""
    if isinstance(target, DTensor) and not isinstance(source, DTensor):
        source = distribute_tensor(source.to(target.device), target.device_mesh, target.placements)
    target.copy_(source)


def own_part(tensor: Tensor) -> Tensor:
    """What of the tensor lies in this process."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
