"""The reference pages say what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"

_spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
assert _spec is not None
assert _spec.loader is not None
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)


@pytest.mark.parametrize("name", sorted(generate.pages()))
def test_a_generated_page_is_up_to_date(name: str) -> None:
    found = (DOCS / "reference" / name).read_text(encoding="utf-8")
    assert found == generate.pages()[name], "run python docs/generate.py"


def test_every_command_and_node_is_described() -> None:
    pages = generate.pages()
    for command in ("up", "record", "demo", "train", "eval", "dataset build", "ego run", "policy inspect", "sim demos"):
        assert f"\n## {command}\n" in pages["cli.md"]
    for node in ("sim", "controller", "policy", "recorder", "evaluator"):
        assert f"\n### /{node}\n" in pages["parameters.md"]
