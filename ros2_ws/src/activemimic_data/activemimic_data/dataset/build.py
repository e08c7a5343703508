"""Builds a dataset from recorded episodes: which of them, and how their gaps are cut."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from activemimic_description.interface import differences

from activemimic_data.bags import BagError, EpisodeInfo, EpisodeReader, find_episodes, load_episode_info
from activemimic_data.bags.episode import FIRST_HELD_OUT_SEED
from activemimic_data.dataset.align import MAX_GAP_S
from activemimic_data.dataset.assemble import (
    BuildResult,
    Identity,
    Progress,
    SkippedBag,
    assemble,
    check_target,
    without_folder,
)
from activemimic_data.dataset.dataset_error import DatasetError
from activemimic_data.dataset.layout import FORMATS
from activemimic_data.dataset.stage import stage_episode

MIN_SECONDS = 0.5


def build_dataset(
    bag_paths: Iterable[Path | str],
    out: Path | str,
    fps: int = 30,
    workers: int = 2,
    only_success: bool = True,
    progress: Progress | None = None,
    max_gap_s: float = MAX_GAP_S,
    min_seconds: float = MIN_SECONDS,
    version: str = FORMATS[0],
    most_episodes: int | None = None,
    imitate_policy: bool = False,
) -> BuildResult:
    """Convert the episodes at or below `bag_paths` to a LeRobotDataset folder at `out`.

    Scenes held out for evaluation are left out. The same bags give the same bytes. A bag that cannot be converted is
    skipped and named in the result. While it is built the dataset lies in `<out>.building`; a build that was
    interrupted goes on from the episodes found there.

    An episode with gaps is split there: each segment becomes an episode of the dataset, and what was cut is kept in
    meta/activemimic.json. `align.py` says what a gap is.

    Rows in which a policy moved the robot have a loss weight of 0, as those that episode.yaml masks: what a human
    corrected is learnt, what the policy did by itself is not.

    Args:
        bag_paths: episode folders, or folders that hold them.
        out: must not exist.
        fps: rows per second.
        workers: processes; 1 converts in this one.
        only_success: leave out episodes whose outcome is not "success".
        progress: called after every episode.
        max_gap_s: how old a source's or sink's newest message may be; of a source never older than the contract says.
        min_seconds: shorter segments are left out.
        version: the layout, one of `layout.FORMATS`.
        most_episodes: of those that would be in, in the order of their paths; None: all.
        imitate_policy: let rows in which a policy moved the robot count as any other.

    Raises:
        DatasetError: `out` exists, contracts differ, or no episode could be converted.
    """
    check_target(Path(out), version)
    episodes = find_episodes(bag_paths)
    if not episodes:
        raise DatasetError(f"no recorded episode at {', '.join(map(str, bag_paths))}")
    chosen, skipped = _choose(episodes, only_success, most_episodes)
    _refuse_mixed_contracts(chosen)
    convert = partial(
        stage_episode, fps=fps, max_gap_s=max_gap_s, min_seconds=min_seconds, imitate_policy=imitate_policy
    )
    return assemble(list(chosen), Path(out), fps, convert, _identity, skipped, workers, version, progress)


def _identity(bag: Path) -> Identity:
    contract = EpisodeReader(bag).contract
    return Identity(contract.interface(), contract.text)


def _choose(
    episodes: list[Path], only_success: bool, most: int | None
) -> tuple[dict[Path, EpisodeInfo], list[SkippedBag]]:
    chosen: dict[Path, EpisodeInfo] = {}
    skipped = []
    for bag in episodes:
        if len(chosen) == most:
            break
        try:
            info = load_episode_info(bag)
        except BagError as error:
            skipped.append(SkippedBag(bag, without_folder(error, bag), broken=True))
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
