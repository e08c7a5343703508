"""The little that all pages share."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2733; max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin-bottom: 0; } h2 { margin-top: 2.2rem; border-bottom: 1px solid #d5dbe1; }
p.lead { font-size: 1.2rem; } table { border-collapse: collapse; margin: 0.6rem 0; }
td, th { padding: 0.25rem 0.9rem 0.25rem 0; text-align: left; border-bottom: 1px solid #e8ecef; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } img, video { max-width: 100%; }
.trial { margin: 1.4rem 0; } .good { color: #1b7f4b; } .bad { color: #b3261e; } figcaption { color: #5b6773; }
details > summary { cursor: pointer; color: #30638e; }
"""


def page(title: str, body: str) -> str:
    """A whole HTML page; `body` is HTML already."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>
<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>
{body}
</body></html>
"""


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain texts; without `heads` it has no first row."""
    lines = [f"<tr>{''.join(f'<th>{escape(name)}</th>' for name in heads)}</tr>"] if heads else []
    lines += [f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
    return f"<table>{''.join(lines)}</table>"


def bullets(lines: Sequence[str]) -> str:
    """A list of plain texts, or nothing."""
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>" if lines else ""


def picture(png: bytes) -> str:
    """An image that lies in the page itself."""
    return f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def png_of(image: np.ndarray) -> bytes:
    """(H, W, 3) uint8 RGB as PNG."""
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def png_of_figure(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
