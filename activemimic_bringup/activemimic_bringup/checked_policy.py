"""A policy that fits the robot: loaded, and held against the contract before anything moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activemimic_description.contract import Contract

if TYPE_CHECKING:
    from activemimic_policy.inference import Policy


class PolicyMismatchError(ValueError):
    """A checkpoint that cannot run here; the text lists every difference."""


def load_checked_policy(checkpoint: str, device: str, threads: int, contract: Contract) -> Policy:
    """Load a policy and hold it against the contract.

    Raises:
        PolicyMismatchError: what the checkpoint was trained on differs from what the contract delivers, or the
            device does not exist.
        CheckpointError: the folder is not a whole checkpoint.
    """
    from activemimic_policy.inference import load_policy  # seconds of torch

    try:
        policy = load_policy(checkpoint, device=device, threads=threads)
    except RuntimeError as error:  # torch's, for a device it does not know or have
        raise PolicyMismatchError(f"device {device!r}: {str(error).splitlines()[0]}") from None
    differences = contract.differences(policy.spec.interface)
    if differences:
        lines = "\n".join(f"  {difference}" for difference in differences)
        raise PolicyMismatchError(f"{checkpoint} does not fit contract {contract.name}:\n{lines}")
    return policy
