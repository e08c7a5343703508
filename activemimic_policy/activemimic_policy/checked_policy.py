"""A policy that fits the robot: found, loaded, and held against the contract before anything moves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from activemimic_description.common.errors import InvalidInputError
from activemimic_description.contract import Contract

if TYPE_CHECKING:
    from activemimic_policy.inference import Policy


SHIPPED = Path(__file__).parent / "checkpoints"  # one a folder, by name


class CheckpointPlaceError(InvalidInputError):
    """A checkpoint that lies where none may be loaded from at run time; the text names it and the allowed folders."""


class PolicyMismatchError(InvalidInputError):
    """A checkpoint that cannot run here; the text lists every difference."""


def checkpoint_folder(name: str) -> Path:
    """The folder of that path or, where no checkpoint is, the shipped checkpoint of that name, if there is one."""
    shipped = SHIPPED / name
    return shipped if not _is_checkpoint(Path(name)) and _is_checkpoint(shipped) else Path(name)


def checkpoint_roots(setting: str, given: str) -> list[Path]:
    """The folders of `setting`, separated by ':'; by default those that hold the shipped and the given checkpoint."""
    if setting:
        return [Path(root).resolve() for root in setting.split(":") if root]
    return [SHIPPED.resolve(), *([checkpoint_folder(given).resolve().parent] if given else [])]


def check_place(name: str, roots: Sequence[Path]) -> None:
    """Raises CheckpointPlaceError unless the checkpoint and all its files lie below a root, links followed."""
    folder = checkpoint_folder(name)
    for path in chain([folder], folder.rglob("*")):
        resolved = path.resolve()
        if not any(root in resolved.parents for root in roots):
            found = f"{path}" if resolved == path else f"{path}, which is {resolved}"
            raise CheckpointPlaceError(
                f"checkpoint {name}: expected it below {' or '.join(map(str, roots))} (checkpoint_roots), found {found}"
            )


def _is_checkpoint(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def load_checked_policy(
    checkpoint: str,
    contract: Contract,
    device: str = "cpu",
    threads: int = 1,
    runtime: str = "eager",
    precision: str = "fp32",
    ablated_cameras: Sequence[str] = (),
) -> Policy:
    """Load a policy (see `activemimic_policy.inference.load_policy`) and hold it against the contract.

    `checkpoint` is what `checkpoint_folder` understands.

    Raises:
        PolicyMismatchError: what the checkpoint was trained on differs from what the contract delivers, or the
            device does not exist.
        CheckpointError: the folder is not a whole checkpoint.
        RuntimeUnavailableError: the runtime cannot work here.
    """
    from activemimic_policy.inference import load_policy  # seconds of torch

    try:
        policy = load_policy(
            checkpoint_folder(checkpoint),
            device,
            threads,
            runtime=runtime,
            precision=precision,
            ablated_cameras=ablated_cameras,
        )
    except RuntimeError as error:  # torch's, for a device it does not know or have
        raise PolicyMismatchError(f"device {device!r}: {str(error).splitlines()[0]}") from None
    differences = contract.differences(policy.spec.interface)
    if differences:
        lines = "\n".join(f"  {difference}" for difference in differences)
        raise PolicyMismatchError(f"{checkpoint} does not fit contract {contract.name}:\n{lines}")
    return policy
