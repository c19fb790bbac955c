"""What asking more often buys: quality and captured revenue of every request policy against its rate and its cost."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.policies import called
from analysis.style import Look, Panel, Sheet
from analysis.tables import Column, Table, build
from analysis.text import Row, best_row, join, p_text, percent, quality, records, signed

TITLE = "What asking buys"
READING = (
    "Each point is a run; a policy with a budget has one for each, the others have their own rate. Thresholds were "
    "calibrated on the devices' histories: how often devices then ask on the live streams is where the point stands. "
    "Better is up and left. At the same rate, what is above random asks at the right moments; the oracle knows the "
    "changes. Rates are of the sessions after a device's first; revenue captured is the share of the gain of all fresh "
    "networks that lies in the sessions in which the device adapted, and is drawn where that gain is more than noise. "
    "Finetune sends nothing: its cost is the device's own time (simulated). Whether a difference at the same budget is "
    "more than noise is in the table; of differences that are noise, one in twenty looks as if it were more."
)

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
_OTHER = Look("#56B4E9", "h", _DOTTED)


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """A row of panels for each method: NDCG@10 against rate, NDCG@10 against cost, and captured revenue against rate.

    ``frame`` has the columns of :data:`core.schema.POLICIES`, of one world.
    """
    captured, panels = bool(frame["captured_low"].notna().any()), []
    for method, mine in frame.groupby("method", sort=False):
        cost, unit = ("mbit", "megabits") if (mine["mbit"] > 0).any() else ("ms", "ms of the device")
        level = partial(_quality, mine.assign(ms=1e3 * mine["seconds"]))
        name, asked = sheet.title(str(method)), "sessions with an adaptation"
        panels += [
            Panel(f"{name}: rate", partial(level, "rate"), asked, "NDCG@10"),
            Panel(f"{name}: cost", partial(level, cost), f"{unit} per session", "NDCG@10"),
            Panel(f"{name}: gain", partial(_captured, mine), asked, "revenue captured"),
        ][: 3 if captured else 2]
    return sheet.figure(panels, height=2.5, most=3 if captured else 2, legend=5)


def _quality(frame: pd.DataFrame, across: str, axis: Axes) -> None:
    _curves(axis, frame, across, "ndcg@10")
    if frame["devicerec"].notna().any():
        line: dict[str, Any] = {"color": style.LIGHT.muted, "linewidth": 0.9, "linestyle": (0, (2, 2))}
        axis.axhline(frame["devicerec"].mean(), label="DeviceRec", **line)
    if across == "rate":
        _rates(axis)


def _captured(frame: pd.DataFrame, axis: Axes) -> None:
    known = frame[frame["captured_low"].notna()]
    _curves(axis, known, "rate", "captured")
    if len(known) < len(frame):
        missing = f"{len(frame) - len(known)} of {len(frame)} not drawn:\nthe gain may be none"
        words: dict[str, Any] = {"ha": "right", "va": "bottom", "size": "small", "color": style.LIGHT.muted}
        axis.text(0.97, 0.03, missing, **words, transform=axis.transAxes)
    axis.plot([0, 1], [0, 1], color=style.LIGHT.grid, linewidth=1, zorder=1)
    style.percent_axis(axis)
    _rates(axis)


def _rates(axis: Axes) -> None:
    axis.set_xlim(-0.04, 1.04)
    style.percent_axis(axis, "x")


def _curves(axis: Axes, frame: pd.DataFrame, across: str, up: str) -> None:
    """One line for each policy through its budgets."""
    kinds = frame["policy"].str.split("[: ]", regex=True).str[0]
    known = [kind for kind in LOOKS if (kinds == kind).any()]
    for kind in [*known, *sorted(set(kinds) - set(known))]:
        mine, look = frame[kinds == kind].sort_values(across), LOOKS.get(kind, _OTHER)
        line: dict[str, Any] = {"color": look.colour, "marker": look.marker, "linestyle": look.dashes, "linewidth": 1.2}
        axis.plot(mine[across], mine[up], markersize=7 if look.marker == "*" else 4.5, label=kind, **line)


def finding(frame: pd.DataFrame, title: Callable[[str], str]) -> str:
    """What the policies of one world come to, method by method."""
    texts = []
    for method, mine in frame.groupby("method", sort=False):
        best = best_row(records(mine))
        text = (
            f"{title(str(method))}: best is {called(best['policy'], best['budget'])} with NDCG@10 "
            f"{quality(best['ndcg@10'])}, adapting in {percent(best['rate'])} of the sessions"
        )
        tested = mine[mine["random_p"].notna()]
        better = tested[tested["random_low"] > 0]
        if len(tested):
            names = [called(policy, budget) for policy, budget in zip(better["policy"], better["budget"], strict=True)]
            text += f"; better than random with the same budget, beyond noise: {join(names) or 'none'}"
        texts.append(f"{text}.")
    return " ".join(texts)


def table(frame: pd.DataFrame, title: Callable[[str], str]) -> Table:
    """Every policy of one world in a row, two columns a method."""
    columns = [Column("Policy", "policy")]
    for method in frame["method"].unique():
        against, captured = _words(f"{method} against"), _words(f"{method} captured")
        columns += [
            Column(title(method), f"{method} ndcg", quality, "NDCG@10", best=max, note=against),
            Column("Adapts", f"{method} rate", percent, "captured", note=captured),
        ]
    caption = (
        "● best of its column. Small, below NDCG@10: difference to random with the same budget, paired bootstrap over "
        "devices; below the share of sessions with an adaptation: revenue captured, where there is a gain to capture."
    )
    return build(_by_policy(frame), columns, caption)


def short_table(frame: pd.DataFrame, title: Callable[[str], str], protocol: str) -> Table:
    """The policies of all worlds for the terminal: NDCG@10 of every method with its rate."""
    worlds = [_by_policy(mine).assign(world=world) for world, mine in frame.groupby("world", sort=False)]
    rows = pd.concat(worlds, ignore_index=True) if worlds else pd.DataFrame(columns=["world", "policy"])
    rows["world"] = rows["world"].where(rows["world"] != rows["world"].shift(), "")
    methods = [Column(title(name), write=_words(f"{name} short", "–")) for name in frame["method"].unique()]
    caption = f"NDCG@10; in brackets: sessions in which devices adapted, in percent. {protocol}"
    return build(rows, [Column("", "world"), Column("policy", "policy"), *methods], caption)


def _by_policy(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a setting: its policy, and what stands in the columns of each method."""
    rows = []
    for _, part in frame.groupby("setting", sort=False):
        row: dict[str, Any] = {"policy": called(str(part["policy"].iloc[0]), float(part["budget"].iloc[0]))}
        for mine in records(part):
            name = mine["method"]
            row |= {f"{name} ndcg": mine["ndcg@10"], f"{name} rate": mine["rate"]}
            row[f"{name} short"] = f"{quality(mine['ndcg@10'])} ({100 * mine['rate']:.0f})"
            if math.isfinite(mine["random_p"]):
                row[f"{name} against"] = f"{signed(mine['random_delta'])}, p {p_text(mine['random_p'])}"
            if math.isfinite(mine["captured_low"]):
                row[f"{name} captured"] = percent(mine["captured"], 0)
        rows.append(row)
    return pd.DataFrame(rows)


def _words(key: str, otherwise: str = "") -> Callable[[Row], str]:
    """A writer of the words in this column, where the row has them."""
    return lambda row: row[key] if isinstance(row.get(key), str) else otherwise
