"""How every dataset is made, whatever its recordings are: each converted on its own and laid aside, then the folder
written in one go."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from activemimic_description.common.single_instance import single_instance
from activemimic_description.common.workers import worker_pool
from activemimic_description.interface import fingerprint

from activemimic_data.bags import BagError
from activemimic_data.dataset import layout_v21, layout_v30
from activemimic_data.dataset.dataset_error import DatasetError
from activemimic_data.dataset.layout import FORMATS, Content, write_json
from activemimic_data.dataset.stage import StagedCut, StagedEpisode, load_staged

Progress = Callable[[int, int, str], None]  # recordings done, recordings in all, the one just finished
Convert = Callable[[Path, Path], Path]  # recording, staging folder -> its folder there

_WRITERS = {"v3.0": layout_v30.write, "v2.1": layout_v21.write}


@dataclass(frozen=True)
class SkippedBag:
    """A recording that is not in the dataset. `broken`: it could not be read; else it was left out on purpose."""

    bag: Path
    reason: str
    broken: bool


@dataclass(frozen=True)
class BuildResult:
    """What a build made of its recordings. An episode is a recording, or a part of one that has gaps."""

    root: Path
    episodes: int
    frames: int
    used: list[Path]
    skipped: list[SkippedBag]
    cuts: list[StagedCut]

    @property
    def broken(self) -> list[SkippedBag]:
        return [skipped for skipped in self.skipped if skipped.broken]


@dataclass(frozen=True)
class Identity:
    """What a dataset's robot is: its interface, the contract's text, and facts about the source."""

    interface: dict[str, Any]
    contract: str
    source: dict[str, Any] = field(default_factory=dict)  # of an import: the format, and the options it was read with


def check_target(out: Path, version: str) -> None:
    """Raises DatasetError if there is no such format or `out` exists."""
    if version not in FORMATS:
        raise DatasetError(f"format {version!r}: expected one of {', '.join(FORMATS)}")
    if out.exists():
        raise DatasetError(f"{out}: exists already; choose another folder or delete it")


def assemble(
    recordings: list[Path],
    out: Path,
    fps: int,
    convert: Convert,
    identify: Callable[[Path], Identity],
    skipped: Iterable[SkippedBag] = (),
    workers: int = 1,
    version: str = FORMATS[0],
    progress: Progress | None = None,
    base: Path | None = None,
) -> BuildResult:
    """Convert `recordings` and write the dataset that holds all their segments.

    While it is made the dataset lies in `<out>.building`; one that was interrupted goes on from the recordings found
    there. A recording that `convert` cannot read, or of which nothing is left, is skipped and named in the result.

    Args:
        convert: picklable, so that `workers` processes may call it.
        identify: asked once, for the first recording that is used.
        base: a folder that reasons name files relative to, so that a dataset does not depend on where it was made.
        skipped: those that were left out before.

    Raises:
        DatasetError: nothing could be converted, or another process is making `out`.
    """
    check_target(out, version)
    left_out = list(skipped)
    building = out.with_name(out.name + ".building")
    (building / "episodes").mkdir(parents=True, exist_ok=True)
    taken = DatasetError(f"{building}: another process is making this dataset; wait for it, or end it")
    with single_instance(building / "lock", taken):
        staging = building / "episodes"
        used: list[Path] = []
        episodes: list[StagedEpisode] = []
        cuts: list[StagedCut] = []
        for done, (recording, result) in enumerate(_convert_all(recordings, staging, convert, workers, base), start=1):
            if isinstance(result, str):
                left_out.append(SkippedBag(recording, result, broken=True))
            else:
                segments, missing = load_staged(result)
                cuts += missing
                episodes += segments
                if segments:
                    used.append(recording)
                else:
                    reason = "; ".join(f"{cut.from_s:.2f} to {cut.to_s:.2f} s: {cut.reason}" for cut in missing)
                    left_out.append(SkippedBag(recording, f"nothing is left: {reason}", broken=False))
            if progress:
                progress(done, len(recordings), recording.name)
        left_out.sort(key=lambda entry: str(entry.bag))
        if not episodes:
            shutil.rmtree(building)
            reasons = "\n".join(f"  {entry.bag.name}: {entry.reason}" for entry in left_out)
            raise DatasetError(f"none of {len(left_out)} episodes could be converted:\n{reasons}")

        identity = identify(used[0])
        root = building / "dataset"
        shutil.rmtree(root, ignore_errors=True)
        (root / "meta").mkdir(parents=True)
        _WRITERS[version](root, Content.of(episodes, identity.interface, fps))
        write_json(root / "meta" / "activemimic.json", _about(identity, fps, episodes, left_out, cuts))
        root.rename(out)
        shutil.rmtree(building)
        return BuildResult(out, len(episodes), sum(len(one.state) for one in episodes), used, left_out, cuts)


def _about(
    identity: Identity,
    fps: int,
    episodes: list[StagedEpisode],
    skipped: list[SkippedBag],
    cuts: list[StagedCut],
) -> dict[str, Any]:
    """The content of meta/activemimic.json."""
    about = {
        "fps": fps,
        "fingerprint": fingerprint(identity.interface),
        "interface": identity.interface,
        "contract": identity.contract,
        "bags": [
            {
                "bag": one.bag,
                "task": one.task,
                "instruction": one.instruction,
                "seed": one.seed,
                "rows": len(one.state),
                "from_s": round(one.from_s, 6),
                "to_s": round(one.to_s, 6),
            }
            for one in episodes
        ],
        "skipped": [{"bag": entry.bag.name, "reason": entry.reason} for entry in skipped],
        "cuts": [asdict(cut) for cut in cuts],
    }
    return about | ({"source": identity.source} if identity.source else {})


def _convert_all(
    recordings: list[Path], staging: Path, convert: Convert, workers: int, base: Path | None
) -> Iterator[tuple[Path, Path | str]]:
    """For every recording, in order, its staged folder or why there is none."""
    one = partial(_convert_one, staging=staging, convert=convert, base=base)
    if min(workers, len(recordings)) <= 1:
        yield from ((recording, one(recording)) for recording in recordings)
        return
    with worker_pool(workers) as pool:
        yield from zip(recordings, pool.map(one, recordings), strict=True)


def _convert_one(recording: Path, staging: Path, convert: Convert, base: Path | None) -> Path | str:
    try:
        return convert(recording, staging)
    except (BagError, DatasetError) as error:
        return without_folder(error, recording) if base is None else str(error).replace(f"{base}/", "")


def without_folder(error: Exception, recording: Path) -> str:
    """The error's text without the path above it: datasets of the same recordings are the same everywhere."""
    return str(error).replace(str(recording), recording.name)
