"""Quality of every method in every setting of a comparison."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style

TITLE = "Quality by setting"


def draw(frame: pd.DataFrame) -> Figure:
    """NDCG@10 per setting and method, and beside it the difference to DeviceRec in the same setting.

    ``frame`` has the columns ``setting, label, method, ndcg@10, ndcg@10_low, ndcg@10_high, ndcg@10_delta,
    ndcg@10_delta_low, ndcg@10_delta_high``.
    """
    compared = frame[frame["ndcg@10_delta"].notna()]
    height = 1.1 + (0.16 * frame["method"].nunique() + 0.2) * frame["setting"].nunique()
    figure, axes = style.panels(1 if compared.empty else 2, height=height)
    _dots(axes[0], frame, frame, "ndcg@10", named=True)
    axes[0].set_xlabel("NDCG@10")
    titles = ["NDCG@10"]
    if not compared.empty:
        _dots(axes[1], frame, compared, "ndcg@10_delta", named=style.narrow())
        axes[1].axvline(0, color=style.LIGHT.muted, linewidth=1)
        axes[1].set_xlabel("difference in NDCG@10")
        titles.append("Difference to DeviceRec")
    style.letter(axes, titles)
    style.legend(figure, axes[0])
    return figure


def _dots(axis: Axes, everything: pd.DataFrame, frame: pd.DataFrame, value: str, named: bool) -> None:
    settings, methods = everything["setting"].unique().tolist(), everything["method"].unique().tolist()
    step = 0.7 / len(methods)
    for i, (method, look) in enumerate(style.looks(methods).items()):
        mine = frame[frame["method"] == method].set_index("setting").reindex(settings)
        bars = np.stack([mine[value] - mine[f"{value}_low"], mine[f"{value}_high"] - mine[value]])
        place = np.arange(len(settings)) + (i - (len(methods) - 1) / 2) * step
        arguments = style.line(method, look) | {"linestyle": "none"}
        axis.errorbar(mine[value], place, xerr=np.nan_to_num(bars), elinewidth=1, **arguments)
    words = everything.groupby("setting")["label"].first()
    labels = [textwrap.fill(f"{name}: {words[name]}", 18 if style.narrow() else 26) for name in settings]
    axis.set_yticks(range(len(settings)), labels if named else [])
    axis.set_ylim(len(settings) - 0.5, -0.5)
    for edge in range(1, len(settings)):
        axis.axhline(edge - 0.5, color=style.LIGHT.grid, linewidth=0.8)
    axis.grid(axis="y", visible=False)
    axis.locator_params(axis="x", nbins=5)
