"""The page of a corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from activemimic_rollout.reports.html import page, picture, png_of_figure, table

from activemimic_training.egocentric.spatial.pose_trajectory import FPS
from activemimic_training.egocentric.viewer.corpus_view import STAGES, CorpusView

_SHOWN = 30  # of the most frequent words
_FAILURES_SHOWN = 100
_STYLE = """
.bars { columns: 2; column-gap: 40px; } .bars > div { display: flex; align-items: center; break-inside: avoid; }
.bars .name { flex: 0 0 40%; text-align: right; padding-right: 0.6em; line-height: 1.25; padding-bottom: 2px; }
.wide { columns: 1; } .bars i { display: block; height: 0.85em; background: #4c8dae; margin-right: 0.4em; }
.bars .number { color: #5b6773; font-variant-numeric: tabular-nums; } .bars .bar { flex: 1; display: flex; }
.bars .bar { align-items: center; }
"""
_LEAST = 1e-3  # m; a spread below is drawn as none


def write_corpus_page(run: Path, corpus: CorpusView, out: Path) -> None:
    """One HTML file with everything in it."""
    parts = [
        f"<style>{_STYLE}</style><h1>Egocentric corpus</h1><p class='lead'>{escape(str(run))}</p>",
        _summary(corpus),
        *_words(corpus),
        *_durations(corpus),
        *_left_out(corpus),
        *_poses(corpus),
        *_failures(corpus),
        *_licences(corpus),
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page("Egocentric corpus", "\n".join(parts)), encoding="utf-8")


def _summary(corpus: CorpusView) -> str:
    kept = f"{len(corpus.kept_s)} after quality control, {_time(sum(corpus.kept_s))}"
    lines = [
        f"{corpus.items} videos, {len(corpus.quarantined)} of them quarantined; {_time(corpus.video_s)} were read",
        f"{len(corpus.segment_s)} segments kept, {_time(sum(corpus.segment_s))}",
        f"{len(corpus.episode_s)} episodes, {_time(sum(corpus.episode_s))}",
        kept if corpus.finished["quality"] else "none through quality control yet",
    ]
    rows = [[stage, f"{corpus.finished[stage]} of {corpus.items}"] for stage in STAGES]
    return "".join(f"<p>{line}</p>" for line in lines) + table(("stage", "videos done"), rows)


def _words(corpus: CorpusView) -> list[str]:
    if not corpus.verbs:
        return ["<h2>What is done</h2><p>No segment was kept yet.</p>"]
    return [
        f"<h2>What is done</h2><h3>Verbs: {len(corpus.verbs)}</h3>{_bars(corpus.verbs)}",
        f"<h3>Nouns: {len(corpus.nouns)}</h3>{_bars(corpus.nouns)}",
        f"<h3>Instructions: {len(corpus.tasks)}</h3>{_bars(corpus.tasks, wide=True)}",
    ]


def _durations(corpus: CorpusView) -> list[str]:
    series = {"segments kept": corpus.segment_s, "episodes": corpus.episode_s, "after quality control": corpus.kept_s}
    if not any(series.values()):
        return []
    return ["<h2>Durations</h2>", _histograms({name: it for name, it in series.items() if it}, "seconds")]


def _left_out(corpus: CorpusView) -> list[str]:
    parts = ["<h2>What was left out, and why</h2>"]
    stages = [stage for stage in STAGES if corpus.reasons.get(stage)]
    for stage in stages:
        count = corpus.reasons[stage].total()
        what = "segments" if stage in ("segment", "filter") else "pieces" if stage == "frames" else "episodes"
        parts.append(f"<h3>{stage}: {count} {what}</h3>{_bars(corpus.reasons[stage], wide=True)}")
    return parts if stages else [*parts, "<p>Nothing.</p>"]


def _poses(corpus: CorpusView) -> list[str]:
    parts: list[str] = []
    if total := corpus.hands.total():
        rows = [[name, f"{count / FPS:.1f} s", f"{count / total:.1%}"] for name, count in corpus.hands.items()]
        parts += ["<h2>Hands</h2>", table(("in the frame", "time", "share"), rows)]
    if corpus.findings:
        rows = [[kind, done, f"{frames / FPS:.1f} s"] for (kind, done), frames in corpus.findings.most_common()]
        parts += ["<h2>Findings of quality control</h2>", table(("what", "done", "time, of a body"), rows)]
    if corpus.scale_spread:
        text = "Of the metric scale over the frames of an episode, relative (Eq. 7)."
        parts += [
            f"<h2>Spread of the scale</h2><p>{text}</p>",
            _histograms({"episodes": corpus.scale_spread}, "spread"),
        ]
    return parts


def _failures(corpus: CorpusView) -> list[str]:
    parts = ["<h2>Quarantine</h2>"]
    rows = [[it.item, it.stage, it.error] for it in corpus.quarantined[:_FAILURES_SHOWN]]
    parts.append(table(("video", "stage", "error"), rows) if rows else "<p>Empty.</p>")
    if (more := len(corpus.quarantined) - _FAILURES_SHOWN) > 0:
        parts.append(f"<p>and {more} more; activemimic ego status lists them all.</p>")
    if corpus.left_out:
        parts += ["<h2>Found, and no video</h2>", table((), [[it.source, it.reason] for it in corpus.left_out])]
    return parts


def _licences(corpus: CorpusView) -> list[str]:
    if not corpus.licences:
        return []
    rows = [[it["stage"], it["what"], *_terms(it["licence"])] for it in corpus.licences["models"]]
    rows += [["data", f"{it['what']}, {it['videos']} videos", *_terms(it["licence"])] for it in corpus.licences["data"]]
    return ["<h2>Licences</h2>", table(("", "what", "licence", "commercial use", "access"), rows)]


def _terms(licence: Mapping[str, object]) -> list[str]:
    commercial = {True: "yes", False: "no", None: "not known"}[licence["commercial"]]  # type: ignore[index]
    return [str(licence["name"]), commercial, "to be asked for" if licence["gated"] else "free"]


def _bars(counts: Counter[str], wide: bool = False) -> str:
    """The most frequent, each with a bar."""
    most = max(counts.values())
    lines = [
        f"<div><span class='name'>{escape(name)}</span><span class='bar'><i style='width:{78 * count / most:.1f}%'></i>"
        f"<span class='number'>{count}</span></span></div>"
        for name, count in counts.most_common(_SHOWN)
    ]
    more = f"<p>and {len(counts) - _SHOWN} more</p>" if len(counts) > _SHOWN else ""
    return f"<div class='bars{' wide' if wide else ''}'>{''.join(lines)}</div>{more}"


def _histograms(series: Mapping[str, Sequence[float]], unit: str) -> str:
    from matplotlib.figure import Figure  # slow to import

    figure = Figure(figsize=(4.2 * len(series), 2.4), dpi=85, layout="constrained")
    axes = figure.subplots(1, len(series), squeeze=False)[0]
    for axis, (name, values) in zip(axes, series.items(), strict=True):
        numbers = np.asarray(values)
        low, high = min(0.0, float(numbers.min())), float(numbers.max())
        axis.hist(numbers, np.linspace(low, max(high, low + _LEAST), 31), color="#4c8dae")
        axis.axvline(float(np.median(numbers)), color="#1d2733", linewidth=1)
        axis.set_title(f"{name}: {len(numbers)}, median {np.median(numbers):.3g}", fontsize=10)
        axis.set_xlabel(unit, fontsize=9)
        axis.tick_params(labelsize=8)
    return picture(png_of_figure(figure))


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.1f} min"
