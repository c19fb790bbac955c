"""Device mixes side by side: what each kind of device gets in each of them, how fairly, and what a shift does."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis import style
from analysis.figures import Drawn, fairness, tiers
from analysis.page import Section, write
from analysis.plots import dots
from analysis.run_groups import RunGroup
from analysis.sections import failures
from analysis.style import Sheet
from analysis.text import join, quality, records
from analysis.tiers import fairness as fairness_table
from analysis.tiers import statuses, tier_table

TITLE = "When the mix of devices shifts"
READING = (
    "The same methods in different device mixes. The worst tier is the kind of device with the lowest NDCG@10; blocks, "
    "traffic and energy are means over all device-sessions, those that were not served included. Bars are 95 % "
    "bootstrap intervals over devices."
)
TIERS_TITLE = "Kinds of devices in each setting"
TIERS_READING = "Each setting by its kinds of devices, the slowest first."


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """Quality over all devices, of the worst kind of device, who is served, blocks, traffic and energy.

    ``frame`` has the columns ``setting, label, method, ndcg@10, ndcg@10_low, ndcg@10_high, worst, served, blocks,
    downlink_mbit, joules``.
    """
    figure, axes = sheet.panels(6, height=2.3)
    dots.draw(axes[0], sheet, frame, "setting", "ndcg@10", "ndcg@10_low", "ndcg@10_high")
    dots.draw(axes[1], sheet, frame, "setting", "worst")
    for axis, value in zip(axes[2:], ("served", "blocks", "downlink_mbit", "joules"), strict=True):
        dots.draw(axis, sheet, frame, "setting", value)
    style.percent_axis(axes[2])
    axes[2].set_ylim(-0.04, 1.06)
    for axis in axes[3:]:
        dots.from_zero(axis)
    names = ["NDCG@10", "NDCG@10 of the worst tier", "Sessions served", "Blocks, all sessions"]
    style.letter(axes, [*names, "Downlink, Mbit a session", "Energy, J a session"])
    sheet.legend(figure, axes[0])
    return figure


def sections(groups: Sequence[RunGroup], table: pd.DataFrame, folder: Path, sheet: Sheet) -> list[Section]:
    """Figure and tables, and ``tiers.csv``, ``fairness.csv`` and, if something failed, ``failures.csv`` in ``folder``.

    None where every setting has one kind of device only. ``table`` is that of the comparison.
    """
    parts = {
        "tiers": _together([tier_table(s.sessions, s.tiers, s.methods) for s in groups], groups),
        "fairness": _together([fairness_table(s.sessions, s.tiers, s.methods) for s in groups], groups),
    }
    if parts["fairness"].empty:
        return []
    failed = [statuses(s.sessions, s.tiers, s.methods) for s in groups]
    parts["failures"] = _together([pd.DataFrame() if frame is None else frame for frame in failed], groups)
    for name, frame in parts.items():
        if not frame.empty:
            write(folder / f"{name}.csv", frame.to_csv(index=False))
    out = []
    if table["setting"].nunique() > 1:
        drawn = Drawn("mixes", sys.modules[__name__], _shift(table, parts["tiers"]), sheet)
        out.append(drawn.section(folder / "figures", finding(drawn.frame, sheet.title)))
    caption = f"{'; '.join(f'{group.name}: {group.label}' for group in groups)}."
    shown = [tiers.table(parts["tiers"], sheet.title, caption), fairness.table(parts["fairness"], sheet.title)]
    if not parts["failures"].empty:
        shown.append(failures.table(parts["failures"], sheet.title))
    return [*out, Section("tiers", TIERS_TITLE, TIERS_READING, tables=shown)]


def _together(frames: Sequence[pd.DataFrame], groups: Sequence[RunGroup]) -> pd.DataFrame:
    """The frames of the settings below each other, with a first column ``setting``."""
    named = []
    for group, frame in zip(groups, frames, strict=True):
        if not frame.empty:
            named.append(frame.assign(setting=group.name)[["setting", *frame.columns]])
    return pd.concat(named, ignore_index=True) if named else pd.DataFrame()


def _shift(table: pd.DataFrame, tiers: pd.DataFrame) -> pd.DataFrame:
    """What the figure needs of the comparison, with the quality of each method's worst tier in each setting."""
    worst = tiers.groupby(["setting", "method"], sort=False)["ndcg@10"].min().rename("worst").reset_index()
    kept = ["setting", "label", "method", "ndcg@10", "ndcg@10_low", "ndcg@10_high"]
    frame = table[[*kept, "served", "blocks", "downlink_mbit", "joules"]]
    return frame.merge(worst, on=["setting", "method"], how="left")


def finding(frame: pd.DataFrame, title: Callable[[str], str]) -> str:
    """Every later setting against the first, for the methods that both have."""
    rows = {(row["setting"], row["method"]): row for row in records(frame)}
    first = frame["setting"].iloc[0]
    texts = []
    for setting in frame["setting"].unique()[1:]:
        parts = [
            f"{title(method)} {quality(old['ndcg@10'])} to {quality(new['ndcg@10'])} (served "
            f"{100 * old['served']:.0f} % to {100 * new['served']:.0f} %)"
            for method in frame["method"].unique()
            if (old := rows.get((first, method))) and (new := rows.get((setting, method)))
        ]
        if parts:
            texts.append(f"From {first} to {setting}, NDCG@10: {join(parts)}.")
    return " ".join(texts)
