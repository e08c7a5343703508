"""Former names of fields are taken with a warning that says the new one; files written before still load."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest
from activemimic_description.common.configuration import read_config
from activemimic_description.common.renamed import RenamedWarning, with_new_names
from activemimic_description.common.strict import explain, parse_section
from pydantic import BaseModel, ConfigDict, ValidationError


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    FORMER_NAMES: ClassVar[Mapping[str, str]] = {"old": "new"}
    new: tuple[int, ...]


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    inner: Inner | None = None


def test_a_former_name_is_taken_and_the_new_one_is_said() -> None:
    with pytest.warns(RenamedWarning, match="Inner: old is now called new"):
        assert parse_section(Inner, {"old": [1, 2]}).new == (1, 2)


def test_a_section_of_a_file_may_still_use_it(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("inner: {old: [3]}\n")
    with pytest.warns(RenamedWarning, match="old is now called new"):
        found = read_config(Outer, tmp_path / "a.yaml", [], ValueError)
    assert found.inner is not None
    assert found.inner.new == (3,)


def test_both_names_at_once_are_refused() -> None:
    with pytest.raises(ValidationError) as caught:
        parse_section(Inner, {"old": [1], "new": [2]})
    assert explain(caught.value) == ["old: expected no such field, found [1]"]


def test_nothing_is_said_where_nothing_is_old(recwarn: pytest.WarningsRecorder) -> None:
    assert with_new_names({"new": 1}, {"old": "new"}, "here") == {"new": 1}
    assert json.loads(json.dumps(parse_section(Outer, {"inner": {"new": [1]}}).model_dump())) == {"inner": {"new": [1]}}
    assert not recwarn.list
