"""Builds a dataset from recorded episodes: converts each on its own, then writes the folder in one go."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from activemimic_description.interface import differences

from activemimic_training.bags import BagError, EpisodeInfo, EpisodeReader, find_episodes, load_episode_info
from activemimic_training.bags.episode import FIRST_HELD_OUT_SEED
from activemimic_training.dataset.errors import DatasetError
from activemimic_training.dataset.layout import write_dataset
from activemimic_training.dataset.stage import load_staged, stage_episode

Progress = Callable[[int, int, str], None]  # episodes done, episodes in all, the bag just finished


@dataclass(frozen=True)
class SkippedBag:
    """An episode that is not in the dataset. `broken`: it could not be read; else it was left out on purpose."""

    bag: Path
    reason: str
    broken: bool


@dataclass(frozen=True)
class BuildResult:
    """What a build made of its bags."""

    root: Path
    episodes: int
    frames: int
    used: list[Path]
    skipped: list[SkippedBag]

    @property
    def broken(self) -> list[SkippedBag]:
        return [skipped for skipped in self.skipped if skipped.broken]


def build_dataset(
    bag_paths: Iterable[Path | str],
    out: Path | str,
    fps: int = 30,
    workers: int = 2,
    only_success: bool = True,
    progress: Progress | None = None,
) -> BuildResult:
    """Convert the episodes at or below `bag_paths` to a LeRobotDataset v3.0 folder at `out`.

    Scenes held out for evaluation are left out. The same bags give the same bytes. A bag that cannot be converted is
    skipped and named in the result. While it is built the dataset lies in `<out>.building`; a build that was
    interrupted goes on from the episodes found there.

    Args:
        bag_paths: episode folders, or folders that hold them.
        out: must not exist.
        fps: rows per second.
        workers: processes; 1 converts in this one.
        only_success: leave out episodes whose outcome is not "success".
        progress: called after every episode.

    Raises:
        DatasetError: `out` exists, contracts differ, or no episode could be converted.
    """
    out = Path(out)
    if out.exists():
        raise DatasetError(f"{out}: exists already; choose another folder or delete it")
    episodes = find_episodes(bag_paths)
    if not episodes:
        raise DatasetError(f"no recorded episode at {', '.join(map(str, bag_paths))}")
    chosen, skipped = _choose(episodes, only_success)
    _refuse_mixed_contracts(chosen)

    building = out.with_name(out.name + ".building")
    staging = building / "episodes"
    staging.mkdir(parents=True, exist_ok=True)
    staged: list[tuple[Path, Path]] = []
    for done, (bag, result) in enumerate(_convert_all(list(chosen), staging, fps, workers), start=1):
        if isinstance(result, Path):
            staged.append((bag, result))
        else:
            skipped.append(SkippedBag(bag, result, broken=True))
        if progress:
            progress(done, len(chosen), bag.name)
    skipped.sort(key=lambda entry: episodes.index(entry.bag))
    if not staged:
        shutil.rmtree(building)
        reasons = "\n".join(f"  {entry.bag.name}: {entry.reason}" for entry in skipped)
        raise DatasetError(f"none of {len(episodes)} episodes could be converted:\n{reasons}")

    used = [bag for bag, _ in staged]
    loaded = [load_staged(folder) for _, folder in staged]
    contract = EpisodeReader(used[0]).contract
    about = {
        "fps": fps,
        "fingerprint": contract.fingerprint(),
        "interface": contract.interface(),
        "contract": contract.text,
        "bags": [
            {"bag": one.bag, "task": one.task, "instruction": one.instruction, "seed": one.seed, "rows": len(one.state)}
            for one in loaded
        ],
        "skipped": [{"bag": entry.bag.name, "reason": entry.reason} for entry in skipped],
    }
    root = building / "dataset"
    shutil.rmtree(root, ignore_errors=True)
    write_dataset(root, loaded, contract.interface(), fps, about)
    root.rename(out)
    shutil.rmtree(building)
    return BuildResult(out, len(loaded), sum(len(one.state) for one in loaded), used, skipped)


def _choose(episodes: list[Path], only_success: bool) -> tuple[dict[Path, EpisodeInfo], list[SkippedBag]]:
    chosen: dict[Path, EpisodeInfo] = {}
    skipped = []
    for bag in episodes:
        try:
            info = load_episode_info(bag)
        except BagError as error:
            skipped.append(SkippedBag(bag, _without_folder(error, bag), broken=True))
            continue
        if info.seed is not None and info.seed >= FIRST_HELD_OUT_SEED:
            reason = f"seed {info.seed} is one of those held out for evaluation ({FIRST_HELD_OUT_SEED} and up)"
            skipped.append(SkippedBag(bag, reason, broken=False))
        elif only_success and info.outcome != "success":
            skipped.append(SkippedBag(bag, f"outcome is {info.outcome}, not success", broken=False))
        else:
            chosen[bag] = info
    return chosen, skipped


def _refuse_mixed_contracts(chosen: dict[Path, EpisodeInfo]) -> None:
    first = next(iter(chosen), None)
    for bag, info in chosen.items():
        assert first is not None
        if info.fingerprint == chosen[first].fingerprint:
            continue
        try:
            theirs, ours = (EpisodeReader(folder).contract.interface() for folder in (bag, first))
            what = "; ".join(differences(theirs, ours, bag.name, first.name))
        except BagError as error:
            what = str(error)
        raise DatasetError(
            f"{bag} and {first} were recorded with different contracts ({info.contract} {info.fingerprint[:12]}, "
            f"{chosen[first].contract} {chosen[first].fingerprint[:12]}): {what}. Build one dataset for each contract"
        )


def _convert_all(bags: list[Path], staging: Path, fps: int, workers: int) -> Iterator[tuple[Path, Path | str]]:
    """For every bag, in order, its staged folder or why there is none."""
    convert = partial(_convert_one, staging=staging, fps=fps)
    if min(workers, len(bags)) <= 1:
        yield from ((bag, convert(bag)) for bag in bags)
        return
    # Spawned, not forked: the caller may run threads (a progress bar, torch).
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from zip(bags, pool.map(convert, bags), strict=True)


def _convert_one(bag: Path, staging: Path, fps: int) -> Path | str:
    try:
        return stage_episode(bag, staging, fps)
    except (BagError, DatasetError) as error:
        return _without_folder(error, bag)


def _without_folder(error: Exception, bag: Path) -> str:
    """The error's text without the path above the bag: datasets of the same bags are the same everywhere."""
    return str(error).replace(str(bag), bag.name)
