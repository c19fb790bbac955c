"""Device mixes side by side: what each kind of device gets in each of them, how fairly, and what a shift does."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.figures import Drawn, fairness, tiers
from analysis.page import Section
from analysis.run_groups import RunGroup
from analysis.sections import failures
from analysis.style import Panel, Sheet
from analysis.text import join, quality, records
from analysis.tiers import fairness as fairness_table
from analysis.tiers import statuses, tier_table
from core import atomic

TITLE = "When the mix of devices shifts"
READING = (
    "The same methods in different device mixes. The worst tier is the kind of device with the lowest NDCG@10. Blocks "
    "are means over the device-sessions that were served, traffic and energy over all. Bars are 95 % bootstrap "
    "intervals over devices."
)
TIERS_TITLE = "Kinds of devices in each setting"
TIERS_READING = "Each setting by its kinds of devices, the slowest first."
_PANELS = {
    "ndcg@10": "NDCG@10",
    "worst": "NDCG@10 of the worst tier",
    "served": "Sessions served",
    "blocks": "Blocks, where served",
    "downlink_mbit": "Downlink, Mbit a session",
    "joules": "Energy, J a session",
}


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """Quality over all devices, of the worst kind of device, who is served, blocks, traffic and energy.

    ``frame`` has the columns ``setting, method``, those of the panels, ``ndcg@10_low`` and ``ndcg@10_high``.
    """

    def dots(value: str, axis: Axes) -> None:
        sheet.dots(axis, frame, "setting", value, *(["ndcg@10_low", "ndcg@10_high"] if value == "ndcg@10" else []))
        if value == "served":
            style.shares(axis)
        elif value not in ("ndcg@10", "worst"):
            style.from_zero(axis)

    return sheet.figure([Panel(title, partial(dots, value)) for value, title in _PANELS.items()], height=2.3)


def sections(groups: Sequence[RunGroup], table: pd.DataFrame, folder: Path, sheet: Sheet) -> list[Section]:
    """Figure and tables, and ``tiers.csv``, ``fairness.csv`` and, if something failed, ``failures.csv`` in ``folder``.

    None where every setting has one kind of device only. ``table`` is that of the comparison.
    """
    parts = {
        name: _together(make, groups)
        for name, make in {"tiers": tier_table, "fairness": fairness_table, "failures": statuses}.items()
    }
    if parts["fairness"].empty:
        return []
    for name, frame in parts.items():
        if not frame.empty:
            atomic.write(folder / f"{name}.csv", frame.to_csv(index=False))
    out = []
    if table["setting"].nunique() > 1:
        worst = parts["tiers"].groupby(["setting", "method"])["ndcg@10"].min().rename("worst").reset_index()
        kept = ["setting", "label", "method", "ndcg@10", "ndcg@10_low", "ndcg@10_high", *list(_PANELS)[2:]]
        shift = table[kept].merge(worst, on=["setting", "method"], how="left")
        drawn = Drawn("mixes", sys.modules[__name__], shift, sheet)
        out.append(drawn.section(folder / "figures", finding(shift, sheet.title)))
    caption = f"{'; '.join(f'{group.name}: {group.label}' for group in groups)}."
    shown = [tiers.table(parts["tiers"], sheet.title, caption), fairness.table(parts["fairness"], sheet.title)]
    if not parts["failures"].empty:
        shown.append(failures.table(parts["failures"], sheet.title))
    return [*out, Section("tiers", TIERS_TITLE, TIERS_READING, tables=shown)]


def _together(make: Callable[..., pd.DataFrame | None], groups: Sequence[RunGroup]) -> pd.DataFrame:
    """A table of each setting, below each other, with a first column ``setting``."""
    found = {group.name: make(group.sessions, group.tiers, group.methods) for group in groups}
    known = {name: frame for name, frame in found.items() if frame is not None and not frame.empty}
    return (
        pd.concat(known, names=["setting"]).reset_index("setting").reset_index(drop=True) if known else pd.DataFrame()
    )


def finding(frame: pd.DataFrame, title: Callable[[str], str]) -> str:
    """Every later setting against the first, for the methods that both have."""
    first, *others = frame["setting"].unique()
    old = frame[frame["setting"] == first]
    texts = []
    for setting in others:
        both = old.merge(frame[frame["setting"] == setting], on="method", suffixes=("_old", "_new"))
        parts = [
            f"{title(row['method'])} {quality(row['ndcg@10_old'])} to {quality(row['ndcg@10_new'])} (served "
            f"{100 * row['served_old']:.0f} % to {100 * row['served_new']:.0f} %)"
            for row in records(both)
        ]
        if parts:
            texts.append(f"From {first} to {setting}, NDCG@10: {join(parts)}.")
    return " ".join(texts)
