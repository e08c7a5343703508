"""The robot vector put together from a contract's state topics."""

from __future__ import annotations

from typing import Any

import numpy as np

from activemimic_description.chunk_fields import NS
from activemimic_description.codec import CodecError, decode_slots, stamp_ns
from activemimic_description.contract import Contract

MAX_AHEAD_NS = NS // 10
SET_BACK_NS = NS  # stamps that run back by more are those of a clock that was set


class MeasuredState:
    """The newest value of every slot; as old as the topic that spoke longest ago."""

    def __init__(self, contract: Contract) -> None:
        self._sources = {source.topic: source for source in contract.state}
        self._slots = np.full(len(contract.slots), np.nan)
        self._stamps_ns: dict[str, int] = {}

    def add(self, topic: str, message: Any, now_ns: int) -> tuple[np.ndarray, int] | None:
        """Take a message of one state topic; return slots (S,) and stamp, or None while a topic is silent.

        Raises CodecError if the message does not hold what the contract says, is older than the one before it, or is
        stamped ahead of `now_ns`: behind other topics' stamps nobody would see when such a one falls silent.
        """
        indices, values = decode_slots(self._sources[topic], message)
        stamped_ns = stamp_ns(message)
        if (ahead_ns := stamped_ns - now_ns) > MAX_AHEAD_NS:
            raise CodecError(f"{topic}: stamped {ahead_ns / NS:.3f} s ahead: do the clocks agree?")
        older_ns = self._stamps_ns.get(topic, stamped_ns) - stamped_ns
        if 0 < older_ns < SET_BACK_NS:
            raise CodecError(f"{topic}: stamped {older_ns / NS:.3f} s before the message that came before it")
        self._slots[indices] = values
        self._stamps_ns[topic] = stamped_ns
        if len(self._stamps_ns) < len(self._sources):
            return None
        return self._slots.copy(), min(self._stamps_ns.values())
