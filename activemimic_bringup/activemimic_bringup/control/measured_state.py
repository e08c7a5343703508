"""The robot vector put together from a contract's state topics."""

from __future__ import annotations

from typing import Any

import numpy as np
from activemimic_description.codec import decode_slots, stamp_ns
from activemimic_description.contract import Contract


class MeasuredState:
    """The newest value of every slot; as old as the topic that spoke longest ago."""

    def __init__(self, contract: Contract) -> None:
        self._sources = {source.topic: source for source in contract.state}
        self._slots = np.full(len(contract.slots), np.nan)
        self._stamps_ns: dict[str, int] = {}

    def add(self, topic: str, message: Any) -> tuple[np.ndarray, int] | None:
        """Take a message of one state topic; return slots (S,) and stamp, or None while a topic is silent.

        Raises CodecError if the message does not hold what the contract says.
        """
        indices, values = decode_slots(self._sources[topic], message)
        self._slots[indices] = values
        self._stamps_ns[topic] = stamp_ns(message)
        if len(self._stamps_ns) < len(self._sources):
            return None
        return self._slots.copy(), min(self._stamps_ns.values())
