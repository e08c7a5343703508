"""Stage `filter`: keeps segments in which hands handle made things indoors, as the paper's three criteria say (A.2)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from activemimic_description.common.strict import explain
from pydantic import BaseModel, ValidationError

from activemimic_training.egocentric.ingest.item import Item
from activemimic_training.egocentric.language.language import Question, ask, json_of
from activemimic_training.egocentric.language.prompts import FILTER
from activemimic_training.egocentric.language.segment import Rejected, Segment, Segments
from activemimic_training.egocentric.settings.pipeline_config import EgocentricConfig, LanguageSection


class Verdict(BaseModel):
    """Of one segment; `number` counts within the question."""

    number: int
    hands: bool
    artificial: bool
    indoors: bool
    reason: str

    def fails(self) -> str | None:
        """Which criteria are not met, and why; None: it is kept."""
        said = {
            "no hands on an object": self.hands,
            "not a made thing": self.artificial,
            "not indoors": self.indoors,
        }
        missed = [name for name, met in said.items() if not met]
        return f"{', '.join(missed)}: {self.reason}" if missed else None


class _Reply(BaseModel):
    verdicts: list[Verdict]


SCHEMA: dict[str, Any] = _Reply.model_json_schema()


def filter_segments(item: Item, config: EgocentricConfig, inputs: Mapping[str, Path], out: Path) -> None:
    """Writes segments.json, and replies.json with what the model said.

    Raises BadReplyError, UnavailableError.
    """
    found = Segments.load(inputs["segment"]).segments
    section = config.filter
    kept: list[Segment] = []
    rejected: list[Rejected] = []
    replies: list[dict[str, Any]] = []
    if not section.enabled:
        kept = [*found]
    else:
        assert section.model is not None
        for number, start in enumerate(range(0, len(found), section.at_once)):
            some = found[start : start + section.at_once]
            verdicts, raw = _judged(section.model, f"filter/{item.id}/{number}", some)
            replies.append({"question": f"filter/{item.id}/{number}", "replies": raw})
            for segment, verdict in zip(some, verdicts, strict=True):
                if reason := verdict.fails():
                    rejected.append(Rejected(segment=segment, reason=reason))
                else:
                    kept.append(segment)
    (out / "replies.json").write_text(json.dumps(replies, indent=1))
    Segments(segments=tuple(kept), rejected=tuple(rejected)).save(out)


def _judged(model: LanguageSection, key: str, segments: Sequence[Segment]) -> tuple[list[Verdict], list[str]]:
    """A verdict for every segment, in order, and all replies."""
    lines = [
        json.dumps({"number": index, "action": s.action, "objects": s.objects, "task": s.task}, ensure_ascii=False)
        for index, s in enumerate(segments)
    ]
    question = Question(key, FILTER.format(tasks="\n".join(lines)), SCHEMA)
    return ask(model, question, partial(_parse, count=len(segments)))


def _parse(reply: str, count: int) -> list[Verdict]:
    """Raises ValueError unless there is one verdict for each of `count` segments."""
    data = json_of(reply)
    try:
        verdicts = _Reply.model_validate({"verdicts": data} if isinstance(data, list) else data).verdicts
    except ValidationError as error:
        raise ValueError("; ".join(explain(error))) from None
    if sorted(verdict.number for verdict in verdicts) != [*range(count)]:
        found = ", ".join(str(verdict.number) for verdict in verdicts)
        raise ValueError(f"verdicts: expected one for each number from 0 to {count - 1}, found {found or 'none'}")
    return sorted(verdicts, key=lambda verdict: verdict.number)
