"""Typed configuration from a YAML file, read strictly, with fields set from the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from activemimic_description.common.renamed import fields_with_new_names
from activemimic_description.common.strict import explain

M = TypeVar("M", bound=BaseModel)


def read_config(
    model: type[M],
    path: Path | None,
    overrides: Sequence[str],
    error: Callable[[str], Exception],
    form: str = "field=value or section.field=value",
) -> M:
    """The file at `path` (None: the defaults), with overrides such as "optimizer.lr=0.0005" on top.

    Args:
        error: raised, with file, field, expected and found, for what cannot be used.
        form: what an override looks like, in words.
    """
    data: Any = {}
    if path is not None:
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as cause:
            raise error(f"{path}: cannot be read: {' '.join(str(cause).split())}") from None
    if not isinstance(data, dict):
        raise error(f"{path}: expected fields and values, found {type(data).__name__}")
    for override in overrides:
        _override(data, override, error, form)
    try:
        return model.model_validate(fields_with_new_names(model, data))
    except ValidationError as cause:
        source = str(path) if path else "configuration"
        source += f" with {' '.join(overrides)}" if overrides else ""
        raise error(f"{source}: " + "; ".join(explain(cause))) from None


def _override(data: dict[str, Any], override: str, error: Callable[[str], Exception], form: str) -> None:
    field, equals, text = override.partition("=")
    if not equals or not field:
        raise error(f"override {override!r}: expected {form}")
    *sections, name = field.split(".")
    for section in sections:
        if data.get(section) is None:
            data[section] = {}
        data = data[section]
        if not isinstance(data, dict):
            raise error(f"override {override!r}: {section} is a value, not a section")
    try:
        data[name] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise error(f"override {override!r}: {text!r} is not a YAML value") from None
