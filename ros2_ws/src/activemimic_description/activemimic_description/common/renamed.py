"""Former names of fields, flags and parameters: taken for one version, with a warning that says the new one."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel


class RenamedWarning(FutureWarning):
    """Something was given by its former name."""


def with_new_names(data: Mapping[str, Any], names: Mapping[str, str], where: str) -> dict[str, Any]:
    """`data` with its former keys replaced; `names` maps former to new ones, `where` tells the person of whose keys.
    Where both names are there, both stay.
    """
    result = dict(data)
    for former, new in names.items():
        if former not in result or new in result:
            continue
        warnings.warn(f"{where}: {former} is now called {new}", RenamedWarning, stacklevel=3)
        result[new] = result.pop(former)
    return result


def fields_with_new_names(model: type[BaseModel], data: Any) -> Any:
    """Plain data for `model` with the new names, in its sections too: those of each model's `FORMER_NAMES`."""
    if not isinstance(data, Mapping):
        return data
    result = with_new_names(data, getattr(model, "FORMER_NAMES", {}), model.__name__)
    for name, field in model.model_fields.items():
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        section = next((kind for kind in kinds if issubclass(kind, BaseModel)), None)
        if section is not None and name in result:
            result[name] = fields_with_new_names(section, result[name])
    return result
