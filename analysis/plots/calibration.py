"""Measured seconds of one inference against its multiply-accumulates, and the lines that were fitted."""

import pandas as pd
from matplotlib.figure import Figure

from analysis import style
from analysis.style import Sheet


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """One panel of times, one of relative errors.

    ``frame`` has the columns ``blocks, macs, seconds, seconds_p95`` and, for each fit, ``seconds NAME`` and
    ``error NAME``.
    """
    figure, axes = sheet.panels(2)
    macs = frame["macs"] / 1e6
    axes[0].errorbar(
        macs,
        1e6 * frame["seconds"],
        yerr=[0 * macs, 1e6 * (frame["seconds_p95"] - frame["seconds"])],
        color=style.LIGHT.ink,
        marker="o",
        linestyle="none",
        elinewidth=1,
        label="measured: median, up to the 95th percentile",
    )
    names = [column.removeprefix("error ") for column in frame.columns if column.startswith("error ")]
    colours = [look.colour for look in sheet.looks(["forward-ofa", "duet"]).values()]
    for name, colour, dashes in zip(names, colours, ("-", "--"), strict=False):
        axes[0].plot(macs, 1e6 * frame[f"seconds {name}"], color=colour, linestyle=dashes, label=f"line {name}")
        axes[1].plot(macs, 100 * frame[f"error {name}"], color=colour, linestyle=dashes, marker="o")
    axes[1].axhline(0, color=style.LIGHT.muted, linewidth=1)
    for axis in axes:
        axis.set_xlabel("million MACs of one inference")
    axes[0].set_ylim(bottom=0)
    axes[0].set_ylabel("microseconds")
    axes[1].set_ylabel("error of the line, %")
    style.letter(axes, ["Time on this machine", "How far a line is off"])
    sheet.legend(figure, axes[0], columns=3)
    return figure
