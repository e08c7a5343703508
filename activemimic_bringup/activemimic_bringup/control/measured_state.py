"""The robot vector put together from a contract's state topics."""

from __future__ import annotations

from typing import Any

import numpy as np
from activemimic_description.codec import CodecError, decode_slots, stamp_ns
from activemimic_description.contract import Contract

from activemimic_bringup.control.chunk_fields import NS

SET_BACK_NS = NS  # stamps that run back by more are those of a clock that was set


class MeasuredState:
    """The newest value of every slot; as old as the topic that spoke longest ago."""

    def __init__(self, contract: Contract) -> None:
        self._sources = {source.topic: source for source in contract.state}
        self._slots = np.full(len(contract.slots), np.nan)
        self._stamps_ns: dict[str, int] = {}

    def add(self, topic: str, message: Any) -> tuple[np.ndarray, int] | None:
        """Take a message of one state topic; return slots (S,) and stamp, or None while a topic is silent.

        Raises CodecError if the message does not hold what the contract says, or is older than the one before it.
        """
        indices, values = decode_slots(self._sources[topic], message)
        stamped_ns = stamp_ns(message)
        older_ns = self._stamps_ns.get(topic, stamped_ns) - stamped_ns
        if 0 < older_ns < SET_BACK_NS:
            raise CodecError(f"{topic}: stamped {older_ns / NS:.3f} s before the message that came before it")
        self._slots[indices] = values
        self._stamps_ns[topic] = stamped_ns
        if len(self._stamps_ns) < len(self._sources):
            return None
        return self._slots.copy(), min(self._stamps_ns.values())
