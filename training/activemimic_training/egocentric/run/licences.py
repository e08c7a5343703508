"""Which models and data a run uses, and whether it may."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from activemimic_training.egocentric.settings.pipeline_config import EgocentricConfigError, LicenceSection


@dataclass(frozen=True)
class Licence:
    """`commercial` None: not known."""

    name: str
    commercial: bool | None
    gated: bool = False  # has to be asked for


@dataclass(frozen=True)
class Use:
    """A model or dataset that a stage uses."""

    stage: str
    what: str
    licence: Licence


OWN = Licence("none: no weights", commercial=True)
_APACHE = Licence("Apache-2.0", commercial=True)
_NON_COMMERCIAL = Licence("CC-BY-NC-4.0", commercial=False)
_SAM = Licence("SAM License", commercial=None, gated=True)
_FREE = ("Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause")

MODELS = {
    "Qwen/Qwen3-VL-4B-Instruct": _APACHE,
    "Qwen/Qwen3-VL-8B-Instruct": _APACHE,
    "Qwen/Qwen3-VL-30B-A3B-Instruct": _APACHE,
    "Qwen/Qwen3-30B-A3B": _APACHE,
    "Qwen/Qwen3-30B-A3B-Instruct-2507": _APACHE,
    "facebook/VGGT-1B": _NON_COMMERCIAL,
    "facebook/VGGT-1B-Commercial": Licence("VGGT License", commercial=True, gated=True),
    "lpiccinelli/unidepth-v2-vitl14": _NON_COMMERCIAL,
    "facebook/sam-3d-body-vith": _SAM,
    "facebook/sam-3d-body-dinov3": _SAM,
    "detector vitdet": _APACHE,
    "detector sam3": _SAM,
    "MediaPipe hands": _APACHE,
}
DATASETS = {
    "Ego4D": Licence("Ego4D licence agreement", commercial=None, gated=True),
    "HOT3D": Licence("HOT3D licence agreement", commercial=None, gated=True),
}


def model_licence(model: str, stated: str | None = None) -> Licence:
    """Of a known model; otherwise what was stated."""
    return MODELS.get(model) or Licence(stated or "not stated", commercial=True if stated in _FREE else None)


def check(uses: Iterable[Use], wanted: LicenceSection) -> None:
    """Raises EgocentricConfigError for a use that `wanted` excludes. A licence that is not stated may hide anything."""
    for use in uses:
        licence = use.licence
        what = f"{use.stage}: {use.what} has licence {licence.name}"
        if licence.name == "not stated" and (wanted.commercial or wanted.exclude):
            raise EgocentricConfigError(f"{what}; expected one, as some are refused: state it beside the model")
        if licence.name in wanted.exclude:
            raise EgocentricConfigError(f"{what}, which licences.exclude refuses")
        if wanted.commercial and not licence.commercial:
            raise EgocentricConfigError(f"{what}, not known to allow commercial use, as licences.commercial demands")


def report(models: Iterable[Use], data: Iterable[tuple[str, Licence, int]]) -> dict[str, Any]:
    """What goes to licences.json. `data`: name, licence, videos."""
    return {
        "models": [{"stage": use.stage, "what": use.what, "licence": asdict(use.licence)} for use in models],
        "data": [{"what": name, "licence": asdict(licence), "videos": videos} for name, licence, videos in data],
    }
