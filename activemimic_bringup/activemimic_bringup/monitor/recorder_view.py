"""One frame of a recording by keys as something that Rich prints."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from activemimic_bringup.nodes.manual_recording import KEYS, LINES, RecorderFrame, TopicRate

_SHORT_GB = 5.0


def recorder_view(frame: RecorderFrame) -> RenderableType:
    """The whole picture, for any width from 80 columns on."""
    return Group(_episode(frame), _rates(frame), _lines(frame), _keys(bool(frame.episode)))


def _episode(frame: RecorderFrame) -> Panel:
    if not frame.heard:
        text = Text(" NO RECORDER ", style="bold white on red")
        text.append("  nothing is heard of it: is it running, on this ROS_DOMAIN_ID?", style="red")
        return Panel(text, border_style="red")
    if frame.episode:
        text = Text.assemble(("  R E C O R D I N G  ", "bold white on red"), (f"  {frame.episode}", "bold"))
        text.append(f"   {frame.duration_s:.0f} s   {frame.size_mb:.1f} MB   ")
        text.append(f"{frame.lost} lost", style="bold yellow" if frame.lost else "")
    else:
        text = Text.assemble(("  idle  ", "bold black on white"), f"  the next episode has seed {frame.seed}")
    left = frame.minutes_left
    time_left = f", {left:.0f} min at this rate" if left is not None else ""
    style = "bold yellow" if frame.free_gb < _SHORT_GB else "dim"
    text.append(f"\n{frame.free_gb:.1f} GB free{time_left} in {frame.out}", style=style)
    return Panel(text, border_style="red" if frame.episode else "dim")


def _rates(frame: RecorderFrame) -> Table:
    table = Table("topic", box=None, padding=(0, 1))
    table.add_column("Hz", justify="right")
    table.add_column("contract", justify="right")
    table.add_column("")
    for rate in frame.rates if frame.heard else ():
        style = _style(rate, bool(frame.episode))
        word = "too slow" if rate.low else ""
        measured = "…" if rate.hz is None else f"{rate.hz:.1f}"
        table.add_row(rate.topic, Text(measured, style), f"{rate.contract_hz:g}", Text(word, style))
    return table


def _style(rate: TopicRate, recording: bool) -> str:
    if not rate.low:
        return "dim" if rate.hz is None else "green"
    return "bold red" if recording else "yellow"


def _lines(frame: RecorderFrame) -> Text:
    text = Text("\n")
    for line in frame.lines:
        text.append(f"{line.clock}  ", style="dim")
        text.append(f"{line.text}\n", style="bold red" if line.alarming else "")
    return text.append("\n" * (LINES - len(frame.lines)))


def _keys(recording: bool) -> Text:
    useful = "yndr" if recording else "sq"
    text = Text()
    for key, meaning in KEYS.items():
        style = "" if key in useful else "dim"
        text.append(key, style=f"bold {style}").append(f" {meaning}   ", style=style)
    return text
