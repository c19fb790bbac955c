"""How fairly quality is spread: every kind of device of every method, the worst and the best of them named."""

import math
from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.run import Run
from analysis.style import Sheet
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
    """Columns :data:`analysis.tiers.FAIRNESS_COLUMNS`; None if all devices are of one kind."""
    frame = fairness(run.sessions, run.tiers, run.methods)
    return None if frame.empty else frame


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """For each method its worst and its best tier, and beside it the ratio of the two with its interval."""
    figure, axes = sheet.panels(2, height=1.0 + 0.34 * len(frame))
    _ends(axes[0], sheet, frame)
    _ratios(axes[1], sheet, frame, named=sheet.narrow)
    style.letter(axes, ["NDCG@10 of the worst and the best", "Worst as a share of the best"])
    return figure


def _ends(axis: Axes, sheet: Sheet, frame: pd.DataFrame) -> None:
    looks = sheet.looks(frame["method"].tolist())
    for y, row in enumerate(frame.to_dict("records")):
        look = looks[row["method"]]
        axis.plot([row["worst"], row["best"]], [y, y], color=look.colour, linewidth=2)
        axis.plot([row["worst"], row["best"]], [y, y], **(sheet.line(row["method"], look) | {"linestyle": "none"}))
        for end, side, x in (("worst", "right", -6), ("best", "left", 6)):
            text, place = row[f"{end}_tier"], (row[end], y)
            axis.annotate(text, place, xytext=(x, 0), textcoords="offset points", ha=side, va="center", fontsize=6.5)
    axis.margins(x=0.35)
    _rows(axis, sheet, frame, named=True)


def _ratios(axis: Axes, sheet: Sheet, frame: pd.DataFrame, named: bool) -> None:
    looks = sheet.looks(frame["method"].tolist())
    for y, row in enumerate(frame.to_dict("records")):
        bars = [[max(0.0, row["ratio"] - row["low"])], [max(0.0, row["high"] - row["ratio"])]]
        known = row["low"] == row["low"]
        arguments = sheet.line(row["method"], looks[row["method"]]) | {"linestyle": "none"}
        axis.errorbar([row["ratio"]], [y], xerr=bars if known else None, elinewidth=1, **arguments)
        end = row["high"] if known else row["ratio"]
        axis.annotate(
            percent(row["ratio"], 0), (end, y), xytext=(6, 0), textcoords="offset points", va="center", fontsize=6.5
        )
    axis.axvline(1, color=style.LIGHT.muted, linewidth=1)
    axis.set_xlim(left=0)
    axis.margins(x=0.15)
    style.percent_axis(axis, "x")
    _rows(axis, sheet, frame, named)


def _rows(axis: Axes, sheet: Sheet, frame: pd.DataFrame, named: bool) -> None:
    axis.set_yticks(range(len(frame)), [sheet.title(method) for method in frame["method"]] if named else [])
    axis.set_ylim(len(frame) - 0.5, -0.5)
    axis.grid(axis="y", visible=False)
    axis.locator_params(axis="x", nbins=5)


def finding(run: Run, frame: pd.DataFrame) -> str:
    """The worst kind of device as a share of the best, the fairest method first."""
    rows = sorted(records(frame), key=lambda row: -row["ratio"] if math.isfinite(row["ratio"]) else math.inf)
    parts = [
        f"{run.title(row['method'])} {percent(row['ratio'], 0)} ({row['worst_tier']} against {row['best_tier']})"
        for row in rows
    ]
    gaps = sorted((row for row in rows if math.isfinite(row["mdac"])), key=lambda row: float(row["mdac"]))
    gap = "; ".join(f"{run.title(row['method'])} {percent(row['mdac'])}" for row in gaps)
    return f"NDCG@10 of the worst kind of device as a share of the best: {'; '.join(parts)}." + (
        f" Largest gap of a kind of device to all devices (MDAC, as a share of the NDCG@10 of all): {gap}."
        if gap
        else ""
    )


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
