"""What asking more often buys: quality and captured revenue of every request policy against its rate and its cost."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.names import title
from analysis.style import Look

TITLE = "What asking buys"

_SOLID, _DASHED, _DOTTED = (0.0, None), (0.0, (5.0, 2.0)), (0.0, (1.2, 1.6))
LOOKS = {
    "never": Look("#7a7f86", "o", _SOLID),
    "always": Look("#7a7f86", "s", _SOLID),
    "random": Look("#7a7f86", "x", _DASHED),
    "every": Look("#7a7f86", "+", _DOTTED),
    "drift": Look("#0072B2", "^", _SOLID),
    "adwin": Look("#E69F00", "v", _DASHED),
    "page-hinkley": Look("#009E73", "D", _DASHED),
    "mrd": Look("#D55E00", "P", _SOLID),
    "oracle": Look("#CC79A7", "*", _SOLID),
}
"""How a policy is drawn; colours as in :mod:`analysis.style`."""
NOTE: dict[str, Any] = {"ha": "right", "va": "bottom", "size": "small", "color": style.LIGHT.muted}
_OTHER = Look("#56B4E9", "h", _DOTTED)


def draw(frame: pd.DataFrame) -> Figure:
    """A row of panels for each method: NDCG@10 against rate, NDCG@10 against cost, and captured revenue against rate.

    ``frame`` has the columns of :data:`analysis.policies.POLICY_COLUMNS`, of one world.
    """
    methods = frame["method"].unique().tolist()
    captured = bool(frame["captured_low"].notna().any())
    columns = 3 if captured else 2
    figure, axes = style.panels(columns * len(methods), height=2.5, most=columns)
    titles = []
    for row, method in enumerate(methods):
        mine, (first, second, *third) = frame[frame["method"] == method], axes[row * columns : (row + 1) * columns]
        _curves(first, mine, "rate", "ndcg@10")
        traffic = bool((mine["mbit"] > 0).any())
        _curves(second, mine.assign(ms=1e3 * mine["seconds"]), "mbit" if traffic else "ms", "ndcg@10")
        second.set_xlabel("megabits per session" if traffic else "ms of the device per session")
        for axis in (first, second):
            axis.set_ylabel("NDCG@10")
            if mine["devicerec"].notna().any():
                axis.axhline(
                    mine["devicerec"].mean(),
                    color=style.LIGHT.muted,
                    linewidth=0.9,
                    linestyle=(0, (2, 2)),
                    label="DeviceRec",
                )
        for axis in third:
            known = mine[mine["captured_low"].notna()]
            _curves(axis, known, "rate", "captured")
            if len(known) < len(mine):
                axis.text(0.97, 0.03, _missing(len(mine) - len(known), len(mine)), **NOTE, transform=axis.transAxes)
            axis.plot([0, 1], [0, 1], color=style.LIGHT.grid, linewidth=1, zorder=1)
            axis.set_ylabel("revenue captured")
            style.percent_axis(axis)
        for axis in (first, *third):
            axis.set_xlabel("sessions with an adaptation")
            axis.set_xlim(-0.04, 1.04)
            style.percent_axis(axis, "x")
        titles += [f"{title(method)}: {what}" for what in ("rate", "cost", "gain")][:columns]
    style.letter(axes, titles)
    style.legend(figure, axes[0], columns=5)
    return figure


def _missing(missing: int, points: int) -> str:
    """Why there are fewer points of captured revenue than of the rest."""
    return f"{missing} of {points} not drawn:\nthe gain may be none"


def _curves(axis: Axes, frame: pd.DataFrame, across: str, up: str) -> None:
    """One line for each policy through its budgets."""
    kinds = frame["policy"].str.split("[: ]", regex=True).str[0]
    known = [kind for kind in LOOKS if (kinds == kind).any()]
    for kind in [*known, *sorted(set(kinds) - set(known))]:
        mine, look = frame[kinds == kind].sort_values(across), LOOKS.get(kind, _OTHER)
        axis.plot(
            mine[across],
            mine[up],
            color=look.colour,
            marker=look.marker,
            linestyle=look.dashes,
            linewidth=1.2,
            markersize=7 if look.marker == "*" else 4.5,
            label=kind,
        )
