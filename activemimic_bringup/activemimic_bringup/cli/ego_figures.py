"""The figures of `ego evaluate` as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def show_figures(figures: dict[str, Any], console: Console) -> None:
    """Print what `egocentric.evaluate` found."""
    from rich.table import Table

    config = figures["config"]
    console.print(f"{figures['episodes']} episodes, {figures['frames']} frames of truth", markup=False)
    rows = dict(figures["bodies"])
    for hand, found in figures["calibrated"].items():
        rows[f"{hand} less {figures['offset_deg'][hand]:.0f} deg"] = found
    tiers = list(config["tiers"])
    table = Table(
        "", "coverage", *(f"recovered, {name}" for name in tiers), "median", "90 %", "AUC m", "AUC deg", "jitter"
    )
    for name, found in rows.items():
        if not found["frames"]:
            table.add_row(name, "no truth")
            continue
        rates = (_percent(found["recovery"][tier]) for tier in tiers)
        middle, most = (
            f"{_of(found[f'{it}_m'], '.3f')} m, {_of(found[f'{it}_deg'], '.1f')} deg" for it in ("median", "p90")
        )
        areas = (_of(found[f"auc_{it}"], ".2f") for it in ("position", "angle"))
        jitter = "" if "jitter_m_s2" not in found else _of(found["jitter_m_s2"], ".1f") + " m/s²"
        table.add_row(name, _percent(found["coverage"]), *rates, middle, most, *areas, jitter)
    console.print(table)
    if figures["calibrated"]:
        share = _percent(config["calibration_share"])
        text = f"less … deg: without its constant rotation offset, found in the first {share}, held against the rest"
        console.print(text, markup=False)
    for name, found in rows.items():
        if found["frames"] and name not in figures["calibrated"]:
            ladder = Table(f"recovered: {name}", *(f"{angle:g} deg" for angle in config["angle_deg"]))
            for metres, shares in zip(config["position_cm"], found["ladder"], strict=True):
                ladder.add_row(f"{metres:g} cm", *map(_percent, shares))
            console.print(ladder)
    if path := figures["path"]:
        seconds = f"{config['relative_s']:g} s"
        paths = Table(
            "camera's path, aligned by", "ATE", f"RPE over {seconds}", "turned", title="medians over the paths"
        )
        for name in path["ate_m"]:
            values = (_of(path[key][name], ".3f") for key in ("ate_m", "rpe_m"))
            paths.add_row(name, *(f"{value} m" for value in values), f"{_of(path['rpe_deg'][name], '.2f')} deg")
        console.print(paths)
        console.print(f"|log s| of its scale: {_of(path['abs_log_scale'], '.3f')}", markup=False)
    for name, tier in config["tiers"].items():
        source = f" ({tier['source']})" if tier["source"] else ""
        console.print(f"{name}: within {tier['position_m']:g} m and {tier['rot6d_l2']:g} rot6d{source}", markup=False)
    for path in figures["unmatched"]:
        console.print(f"without a truth: {path}", style="yellow", markup=False)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _of(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
