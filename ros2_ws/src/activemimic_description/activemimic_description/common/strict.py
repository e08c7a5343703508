"""Strict reading of JSON into frozen models: every fault becomes a line that names field, expected and found."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from activemimic_description.common.renamed import fields_with_new_names

M = TypeVar("M", bound=BaseModel)


def parse_json(text: str) -> Any:
    """Plain data of a JSON text. Raises ValueError on bad syntax, on NaN and infinities and on a repeated key."""

    def reject_constant(constant: str) -> None:
        raise ValueError(f"the number {constant} is not allowed")

    def reject_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            raise ValueError(f"the field {next(n for n in names if names.count(n) > 1)!r} is there twice")
        return found

    try:
        return json.loads(text, parse_constant=reject_constant, object_pairs_hook=reject_repeats)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None


def parse_section(model: type[M], section: Any) -> M:
    """`section` (plain data) as `model`, without any conversion of types. Raises pydantic's ValidationError."""
    return model.model_validate_json(json.dumps(fields_with_new_names(model, section)), strict=True)


def explain(error: ValidationError, prefix: str = "") -> list[str]:
    """One line per fault: "policy.fps: expected a valid integer, found 'ten'"."""
    return [_line(dict(fault), prefix) for fault in error.errors(include_url=False)]


def _line(fault: dict[str, Any], prefix: str) -> str:
    field = ".".join([*([prefix] if prefix else []), *map(str, fault["loc"])]) or "the whole"
    if fault["type"] == "missing":
        return f"{field}: expected a value, found nothing"
    if fault["type"] == "extra_forbidden":
        return f"{field}: expected no such field, found {_short(fault['input'])}"
    expected = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if fault["type"] == "value_error":
        return f"{field}: {expected}"
    return f"{field}: expected {expected}, found {_short(fault['input'])}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
