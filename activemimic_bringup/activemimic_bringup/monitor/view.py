"""One frame as something that Rich prints. Nothing here waits, listens or remembers."""

from __future__ import annotations

import math

from activemimic_description.latency_stages import STAGES, StageSummary
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from activemimic_bringup.monitor.watch import GREW_S, Event, Frame, Rate

BAR = 18  # characters of the longest bar
_COLOURS = {"running": "green", "armed": "cyan", "idle": "white", "holding": "yellow", "stopped": "red"}
_SLOW = 0.9  # of the rate that is expected


def view(frame: Frame) -> RenderableType:
    """The whole picture, for any width from 80 columns on."""
    return Group(_mode(frame), Columns([_rates(frame), _stages(frame)]), _counters(frame), _events(frame.events))


def _mode(frame: Frame) -> Panel:
    if not frame.mode:
        text = Text(" NO CONTROLLER ", style="bold white on red")
        text.append("  nothing was heard of it: is it running, on this ROS_DOMAIN_ID?", style="red")
        return Panel(text, border_style="red")
    colour = _COLOURS.get(frame.mode, "magenta")
    text = Text.assemble(
        (f"  {' '.join(frame.mode.upper())}  ", f"bold black on {colour}"),
        ("  moved by ", "dim"),
        (frame.source or "nobody", "bold"),
        f"\n{frame.reason}",
    )
    text.append(f"\npolicy: {frame.policy}", style="dim")
    text.append("\nrecorder: ", style="dim")
    text.append(frame.recorder, style="bold red" if frame.recording else "dim")
    if frame.silent:
        text.append(f"\nnot heard any more: {', '.join(frame.silent)}", style="bold red")
    return Panel(text, border_style=colour)


def _rates(frame: Frame) -> Table:
    table = Table("rate", "Hz", "", title="Rates", title_justify="left", box=None, padding=(0, 1))
    for rate in frame.rates:
        table.add_row(rate.name, Text(f"{rate.hz:.1f}", style=_rate_style(rate)), Text(rate.note, style="dim"))
    new = f" (+{frame.deadline_misses_grew})" if frame.deadline_misses_grew else ""
    table.add_row("period p99", f"{_ms(frame.period_p99_ms)}", Text(f"ms, longest {_ms(frame.period_max_ms)}", "dim"))
    missed = Text(f"{frame.deadline_misses}{new}", style="bold yellow" if new else "")
    table.add_row("deadlines", missed, Text("missed", style="dim"))
    return table


def _rate_style(rate: Rate) -> str:
    return "bold yellow" if not rate.hz >= _SLOW * rate.expected_hz else ""


def _stages(frame: Frame) -> Table:
    count = max((stage.count for stage in frame.stages), default=0)
    table = Table(
        "stage", title=f"Stages of the last {count} chunks (ms)", title_justify="left", box=None, padding=(0, 1)
    )
    table.add_column("p50", justify="right")
    table.add_column("p99", justify="right")
    table.add_column("")
    longest = max((stage.p99_ms for stage in frame.stages if stage.count), default=0.0)
    for stage in frame.stages:
        table.add_row(STAGES[stage.stage], _ms(stage.p50_ms), _ms(stage.p99_ms), _bar(stage, longest))
    if frame.total is not None:
        total = frame.total
        table.add_row("all the way", _ms(total.p50_ms), _ms(total.p99_ms), f"{total.count} chunks", style="bold")
    return table


def _bar(stage: StageSummary, longest_ms: float) -> Text:
    """Filled as far as the median, thin as far as the 99th percentile."""
    if not stage.count or longest_ms <= 0:
        return Text("")
    filled, thin = (round(BAR * max(0.0, ms) / longest_ms) for ms in (stage.p50_ms, stage.p99_ms))
    return Text.assemble(("█" * filled, "cyan"), ("─" * (thin - filled), "dim cyan"))


def _counters(frame: Frame) -> RenderableType:
    text = Text("LimitEvents  ", style="italic")
    if not frame.counters:
        text.append("none", style="dim not italic")
    for counter in frame.counters:
        text.append(f"{counter.kind} {counter.total}", style="bold yellow not italic" if counter.grew else "not italic")
        text.append(f" (+{counter.grew} in {GREW_S:g} s)" if counter.grew else "", style="yellow not italic")
        text.append("  ")
    return text


def _events(events: tuple[Event, ...]) -> RenderableType:
    table = Table("", "", "", title="Last events", title_justify="left", box=None, padding=(0, 1), show_header=False)
    for event in events:
        times = f"{event.times} times" if event.times > 1 else ""
        table.add_row(f"{event.ago_s:.0f} s ago", times, Text(event.text, style="bold red" if event.alarming else ""))
    if not events:
        table.add_row(Text("none since this view was opened", style="dim"), "", "")
    return table


def _ms(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1f}"
