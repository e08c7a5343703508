"""One picture of a recorded run: modes and limit events, stages of every chunk, motion, and one join enlarged."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from activemimic_description.latency_stages import STAGES
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from activemimic_rollout.reports.html import png_of_figure
from activemimic_rollout.reports.run_trace import RunTrace

mpl.use("Agg")
SHOWN_SLOTS = 3  # those that moved most
_BEFORE_S, _AFTER_S = 0.4, 0.8  # around the join that is enlarged
_COMMANDED, _MEASURED, _OLD, _NEW = "#d1495b", "#30638e", "#9aa5b1", "#1b7f4b"
_MODES = {"idle": "#d5dbe1", "armed": "#9fd3e6", "running": "#a6d8b5", "holding": "#f3d27a", "stopped": "#eb9a94"}
_WORD_S = 0.05  # of the run's length: a mode that lasted less has no room for its name


def draw_run(run: RunTrace) -> bytes:
    """The picture as PNG."""
    slots = slots_that_moved(run)
    rows = 3 + len(slots)
    figure = Figure(figsize=(13, 2.2 * rows), dpi=110, layout="constrained")
    axes = figure.subplots(rows, 1, squeeze=False, height_ratios=[1.1, 1.6, *[1.0] * len(slots), 1.9])[:, 0]
    _draw_modes(run, axes[0])
    _draw_stages(run, axes[1])
    for axis, slot in zip(axes[2:], slots, strict=False):
        _draw_slot(run, slot, axis)
    _draw_join(run, axes[-1])
    for axis in axes[:-1]:
        axis.set_xlim(0.0, run.trial.info.duration_s)
    axes[-2].set_xlabel("s since the recording began", fontsize=8)
    for axis in axes:
        axis.tick_params(labelsize=7)
    return png_of_figure(figure)


def slots_that_moved(run: RunTrace) -> Sequence[int]:
    """The SHOWN_SLOTS slots whose measured positions spread most."""
    measured = run.motion.measured
    if not len(measured):
        return []
    return [int(slot) for slot in np.argsort(-np.ptp(measured, axis=0))[:SHOWN_SLOTS]]


def _draw_modes(run: RunTrace, axis: Axes) -> None:
    kinds = sorted({event.kind for event in run.limit_events})
    end_s = run.trial.info.duration_s
    ends = [*(change.time_s for change in run.modes[1:]), end_s]
    for change, until_s in zip(run.modes, ends, strict=False):
        axis.axvspan(change.time_s, until_s, color=_MODES.get(change.mode, "white"), lw=0)
        if until_s - change.time_s > _WORD_S * end_s:
            words = f"{change.mode}\n{change.source}" if change.source else change.mode
            axis.text((change.time_s + until_s) / 2, len(kinds) - 0.2, words, ha="center", va="bottom", fontsize=8)
    for row, kind in enumerate(kinds):
        times_s = [event.time_s for event in run.limit_events if event.kind == kind]
        axis.plot(times_s, [row] * len(times_s), "|", color=_COMMANDED, ms=9)
    axis.set_yticks(range(len(kinds)), kinds)
    axis.set_ylim(-0.6, len(kinds) + 1.2)
    axis.set_title("mode, who moves the robot, and reported limit events", fontsize=9, loc="left")


def _draw_stages(run: RunTrace, axis: Axes) -> None:
    """A bar for every chunk of the policy, at the stamp of its observation, one stage above the other."""
    rows = sorted((key, row) for key, row in run.stages.rows.items() if key[1] == "policy")
    times_s = np.array([(stamp_ns - run.trial.info.start_ns) / 1e9 for (stamp_ns, _), _ in rows])
    width_s = 0.7 * float(np.median(np.diff(times_s))) if len(times_s) > 1 else 0.1
    colours = mpl.colormaps["tab10"]
    bottom = np.zeros(len(rows))
    for place, (stage, title) in enumerate(STAGES.items()):
        ms = np.maximum(0.0, np.array([row.get(stage, 0.0) for _, row in rows]))  # clocks may differ a little
        axis.bar(times_s, ms, width_s, bottom=bottom, color=colours(place), label=title)
        bottom += ms
    axis.set_ylabel("ms", fontsize=8)
    axis.set_title("stages of every chunk of the policy", fontsize=9, loc="left")
    if rows:
        axis.legend(fontsize=6, ncols=1, loc="center left", bbox_to_anchor=(1.0, 0.5), reverse=True)


def _draw_slot(run: RunTrace, slot: int, axis: Axes) -> None:
    motion = run.motion
    for chunk in run.chunks:
        axis.axvline(chunk.arrived_s, color=_OLD, lw=0.5, alpha=0.7)
    axis.plot(motion.command_s, motion.command[:, slot], color=_COMMANDED, lw=1.1, label="commanded")
    axis.plot(motion.measured_s, motion.measured[:, slot], color=_MEASURED, lw=1.0, label="measured")
    axis.set_title(f"{run.slots[slot]}; a line for every chunk", fontsize=9, loc="left")
    axis.legend(fontsize=7, loc="upper right")


def _draw_join(run: RunTrace, axis: Axes) -> None:
    join = run.sharpest_join()
    if join is None:
        axis.axis("off")
        axis.text(0.5, 0.5, "no chunk was replaced by another", ha="center", fontsize=9)
        return
    former, latter, slot = join
    motion = run.motion
    axis.axvline(latter.arrived_s, color=_NEW, lw=1.0, ls=":")
    for chunk, colour, words in ((former, _OLD, "the chunk before"), (latter, _NEW, "the new chunk")):
        axis.plot(chunk.times_s, chunk.points[:, slot], "o--", color=colour, ms=4, lw=0.8, label=f"{words} wants")
    axis.plot(motion.command_s, motion.command[:, slot], ".-", color=_COMMANDED, ms=3, lw=1.1, label="commanded")
    axis.plot(motion.measured_s, motion.measured[:, slot], ".-", color=_MEASURED, ms=3, lw=1.0, label="measured")
    left_s, right_s = latter.arrived_s - _BEFORE_S, latter.arrived_s + _AFTER_S
    seen = [
        values[(times >= left_s) & (times <= right_s), slot]
        for times, values in (
            (motion.command_s, motion.command),
            (motion.measured_s, motion.measured),
            (former.times_s, former.points),
            (latter.times_s, latter.points),
        )
    ]
    low, high = np.min(np.concatenate(seen)), np.max(np.concatenate(seen))
    margin = 0.05 * max(high - low, 1e-3)
    axis.set(xlim=(left_s, right_s), ylim=(low - margin, high + margin))
    axis.set_title(f"the join where two chunks disagreed most: {run.slots[slot]}", fontsize=9, loc="left")
    axis.legend(fontsize=7, loc="upper right")
