"""How fairly quality is spread: every kind of device of every method, the worst and the best of them named."""

import math
from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.run import Run
from analysis.style import Panel, Sheet
from analysis.tables import Column, Table, build, grouped_method_column
from analysis.text import between, percent, quality, records
from analysis.tiers import fairness

TITLE = "The worst kind of device against the best"
READING = (
    "Each method's quality on the kind of device where it is lowest and on the one where it is highest. Which users "
    "have which device is chance, so with few devices of a kind a part of the difference is chance too: the intervals "
    "are over devices."
)


def data(run: Run) -> pd.DataFrame | None:
    """Columns :data:`core.schema.FAIRNESS`; None if all devices are of one kind."""
    frame = fairness(run.sessions, run.tiers, run.methods)
    return None if frame.empty else frame


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """For each method its worst and its best tier, and beside it the ratio of the two with its interval."""

    def rows(axis: Axes, named: bool) -> None:
        axis.set_yticks(range(len(frame)), [sheet.title(method) for method in frame["method"]] if named else [])
        axis.set_ylim(len(frame) - 0.5, -0.5)
        axis.grid(axis="y", visible=False)
        axis.locator_params(axis="x", nbins=5)

    def ends(axis: Axes) -> None:
        for y, (_, mine, arguments) in enumerate(sheet.each(frame, lines=False)):
            (row,) = records(mine)
            both = [row["worst"], row["best"]]
            axis.plot(both, [y, y], color=arguments["color"], linewidth=2)
            axis.plot(both, [y, y], **arguments)
            style.note(axis, row["worst_tier"], (row["worst"], y), -6, ha="right")
            style.note(axis, row["best_tier"], (row["best"], y), 6, ha="left")
        axis.margins(x=0.35)
        rows(axis, named=True)

    def ratios(axis: Axes) -> None:
        for y, (_, mine, arguments) in enumerate(sheet.each(frame, lines=False)):
            (row,) = records(mine)
            known = math.isfinite(row["low"])
            bars = style.lengths(mine, "ratio", "low", "high") if known else None
            axis.errorbar(mine["ratio"], [y], xerr=bars, elinewidth=1, **arguments)
            style.note(axis, percent(row["ratio"], 0), (row["high"] if known else row["ratio"], y), 6)
        axis.axvline(1, color=style.LIGHT.muted, linewidth=1)
        axis.set_xlim(left=0)
        axis.margins(x=0.15)
        style.percent_axis(axis, "x")
        rows(axis, named=sheet.narrow)

    panels = [Panel("NDCG@10 of the worst and the best", ends), Panel("Worst as a share of the best", ratios)]
    return sheet.figure(panels, height=1.0 + 0.34 * len(frame), legend=0)


def finding(run: Run, frame: pd.DataFrame) -> str:
    """The worst kind of device as a share of the best, the fairest method first."""
    parts = [
        f"{run.title(row['method'])} {percent(row['ratio'], 0)} ({row['worst_tier']} against {row['best_tier']})"
        for row in sorted(records(frame), key=lambda row: -row["ratio"] if math.isfinite(row["ratio"]) else math.inf)
    ]
    text = f"NDCG@10 of the worst kind of device as a share of the best: {'; '.join(parts)}."
    gaps = records(frame[frame["mdac"].notna()].sort_values("mdac", kind="stable"))
    if gaps:
        gap = "; ".join(f"{run.title(row['method'])} {percent(row['mdac'])}" for row in gaps)
        text += f" Largest gap of a kind of device to all devices (MDAC, as a share of the NDCG@10 of all): {gap}."
    return text


def tables(run: Run, frame: pd.DataFrame) -> list[Table]:
    """The two kinds of devices of each method, and their ratio."""
    return [table(frame, run.title)]


def table(frame: pd.DataFrame, title: Callable[[str], str]) -> Table:
    """What :func:`analysis.tiers.fairness` gives; with a column ``setting`` its letters come first."""
    columns = [
        grouped_method_column(title),
        Column("Worst", "worst", quality, "NDCG@10", note=lambda row: str(row["worst_tier"])),
        Column("Best", "best", quality, "NDCG@10", note=lambda row: str(row["best_tier"])),
        Column("Worst to best", "ratio", percent, unit="95 % interval", note=between("low", "high", percent)),
        Column("Largest gap", "mdac", percent, unit="to all devices"),
    ]
    caption = (
        "The kind of device with the lowest quality against the one with the highest; 100 % would be the same quality "
        "for all. Largest gap (MDAC): the largest difference of a kind of device to all devices, as a share of the "
        "NDCG@10 of all. Different kinds of devices are different users, so a part of the difference is theirs."
    )
    return build(frame, columns, caption)
