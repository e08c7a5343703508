"""HTML pages made from Jinja2 templates, and images for them.

A package keeps its templates in its folder `templates`. They extend `base.html` and use `macros.html` of this package.
"""

from __future__ import annotations

import base64
import io
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def render(package: str, template: str, view: object) -> str:
    """A whole page; the template sees the attributes of `view`, a dataclass, as its variables, and escapes them.

    Raises jinja2.UndefinedError: the template names what the view does not have.
    """
    return _environment(package).get_template(template).render(vars(view))


def data_uri(data: bytes, media_type: str = "image/png") -> str:
    """A file as the address of itself, so that it lies in the page (RFC 2397); a filter in templates."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def png_of(image: np.ndarray) -> bytes:
    """(H, W, 3) uint8 RGB as PNG."""
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def png_of_figure(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


@cache
def _environment(package: str) -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(__package__)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = data_uri
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}  # of the filter tojson
    return environment
