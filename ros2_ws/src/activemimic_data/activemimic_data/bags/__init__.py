"""Recorded episodes: a folder each, readable by `ros2 bag` and by rosbags.

In: serialised messages and what the episode was about. Out: `<episode>/` with an MCAP file, metadata.yaml,
episode.yaml and contract.yaml, and messages read back from it, verdicts on it, and what can be saved of a damaged
one. Start with `episode.py`, then `writer.py`.
"""

from activemimic_data.bags.bag_validation import Verdict, validate
from activemimic_data.bags.command_sources import Moved, interventions, moved_by
from activemimic_data.bags.episode import BagError, DiskFullError, EpisodeInfo, find_episodes, load_episode_info
from activemimic_data.bags.reader import BagMessage, EpisodeReader, RawMessage
from activemimic_data.bags.recovery import Recovery, recover
from activemimic_data.bags.writer import EpisodeWriter

__all__ = [
    "BagError",
    "BagMessage",
    "DiskFullError",
    "EpisodeInfo",
    "EpisodeReader",
    "EpisodeWriter",
    "Moved",
    "RawMessage",
    "Recovery",
    "Verdict",
    "find_episodes",
    "interventions",
    "load_episode_info",
    "moved_by",
    "recover",
    "validate",
]
