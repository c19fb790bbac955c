"""How fairly quality is spread: every kind of device of every method, the worst and the best of them named."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.loading import Run
from analysis.names import percent, title
from analysis.tiers_table import fairness

TITLE = "The worst kind of device against the best"


def data(run: Run) -> pd.DataFrame | None:
    """Columns :data:`analysis.tiers_table.FAIRNESS_COLUMNS`; None if all devices are of one kind."""
    frame = fairness(run.sessions, run.tiers, run.methods)
    return None if frame.empty else frame


def draw(frame: pd.DataFrame) -> Figure:
    """For each method its worst and its best tier, and beside it the ratio of the two with its interval."""
    figure, axes = style.panels(2, height=1.0 + 0.34 * len(frame))
    _ends(axes[0], frame)
    _ratios(axes[1], frame, named=style.narrow())
    style.letter(axes, ["NDCG@10 of the worst and the best", "Worst as a share of the best"])
    return figure


def _ends(axis: Axes, frame: pd.DataFrame) -> None:
    looks = style.looks(frame["method"].tolist())
    for y, row in enumerate(frame.to_dict("records")):
        look = looks[row["method"]]
        axis.plot([row["worst"], row["best"]], [y, y], color=look.colour, linewidth=2)
        axis.plot([row["worst"], row["best"]], [y, y], **(style.line(row["method"], look) | {"linestyle": "none"}))
        for end, side, x in (("worst", "right", -6), ("best", "left", 6)):
            text, place = row[f"{end}_tier"], (row[end], y)
            axis.annotate(text, place, xytext=(x, 0), textcoords="offset points", ha=side, va="center", fontsize=6.5)
    axis.margins(x=0.35)
    _rows(axis, frame, named=True)


def _ratios(axis: Axes, frame: pd.DataFrame, named: bool) -> None:
    looks = style.looks(frame["method"].tolist())
    for y, row in enumerate(frame.to_dict("records")):
        bars = [[max(0.0, row["ratio"] - row["low"])], [max(0.0, row["high"] - row["ratio"])]]
        known = row["low"] == row["low"]
        arguments = style.line(row["method"], looks[row["method"]]) | {"linestyle": "none"}
        axis.errorbar([row["ratio"]], [y], xerr=bars if known else None, elinewidth=1, **arguments)
        end = row["high"] if known else row["ratio"]
        axis.annotate(
            percent(row["ratio"], 0), (end, y), xytext=(6, 0), textcoords="offset points", va="center", fontsize=6.5
        )
    axis.axvline(1, color=style.LIGHT.muted, linewidth=1)
    axis.set_xlim(left=0)
    axis.margins(x=0.15)
    style.percent_axis(axis, "x")
    _rows(axis, frame, named)


def _rows(axis: Axes, frame: pd.DataFrame, named: bool) -> None:
    axis.set_yticks(range(len(frame)), [title(method) for method in frame["method"]] if named else [])
    axis.set_ylim(len(frame) - 0.5, -0.5)
    axis.grid(axis="y", visible=False)
    axis.locator_params(axis="x", nbins=5)
