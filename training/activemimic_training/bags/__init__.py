"""Recorded episodes: a folder each, readable by `ros2 bag` and by rosbags.

In: serialised messages and what the episode was about. Out: `<episode>/` with an MCAP file, metadata.yaml,
episode.yaml and contract.yaml, and messages read back from it. Start with `episode.py`, then `writer.py`.
"""

from activemimic_training.bags.episode import BagError, EpisodeInfo, find_episodes, load_episode_info
from activemimic_training.bags.reader import BagMessage, EpisodeReader, RawMessage
from activemimic_training.bags.writer import EpisodeWriter

__all__ = [
    "BagError",
    "BagMessage",
    "EpisodeInfo",
    "EpisodeReader",
    "EpisodeWriter",
    "RawMessage",
    "find_episodes",
    "load_episode_info",
]
