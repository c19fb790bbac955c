"""Quality of every method in every setting of a comparison, and the same devices in other settings."""

import math
import textwrap
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.page import Section
from analysis.run_groups import RunGroup, obstacle
from analysis.stats import quotients
from analysis.style import Panel, Sheet
from analysis.summary import relative_difference
from analysis.summary_table import AGAINST_DEVICEREC, NDCG, NDCG_SD
from analysis.tables import Column, Table, build, grouped_method_column, method_column
from analysis.text import (
    Row,
    best_row,
    between,
    join,
    number,
    p_text,
    percent,
    quality,
    records,
    signed,
    signed_percent,
    told_apart,
)

TITLE = "Quality by setting"
READING = (
    "Intervals are 95 % bootstrap intervals over devices; ± is the standard deviation over seeds. Differences to "
    "DeviceRec are paired over devices within a setting."
)
PAIRED_TITLE = "The same devices in other settings"
PAIRED_READING = (
    "The same method in another setting, over the users that are devices of both, with the seeds that both have. "
    "Nothing is compared if data, candidates or the numbers of their events are not the same."
)


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """NDCG@10 per setting and method, and beside it the difference to DeviceRec in the same setting.

    ``frame`` has the columns ``setting, label, method, ndcg@10, ndcg@10_low, ndcg@10_high, ndcg@10_delta,
    ndcg@10_delta_low, ndcg@10_delta_high``.
    """
    labels, methods = frame.groupby("setting", sort=False)["label"].first(), frame["method"].nunique()
    names = [textwrap.fill(f"{name}: {label}", 18 if sheet.narrow else 26) for name, label in labels.items()]

    def dots(value: str, named: bool, axis: Axes) -> None:
        for i, (_, rows, arguments) in enumerate(sheet.each(frame, lines=False)):
            mine = rows.set_index("setting").reindex(labels.index)
            place = np.arange(len(labels)) + (i - (methods - 1) / 2) * 0.7 / methods
            bars = style.lengths(mine, value, f"{value}_low", f"{value}_high")
            axis.errorbar(mine[value], place, xerr=bars, elinewidth=1, **arguments)
        axis.set_yticks(range(len(labels)), names if named else [])
        axis.set_ylim(len(labels) - 0.5, -0.5)
        for edge in range(1, len(labels)):
            axis.axhline(edge - 0.5, color=style.LIGHT.grid, linewidth=0.8)
        axis.grid(axis="y", visible=False)
        axis.locator_params(axis="x", nbins=5)

    def differences(axis: Axes) -> None:
        dots("ndcg@10_delta", sheet.narrow, axis)
        axis.axvline(0, color=style.LIGHT.muted, linewidth=1)

    panels = [Panel("NDCG@10", partial(dots, "ndcg@10", True), x="NDCG@10")]
    if frame["ndcg@10_delta"].notna().any():
        panels.append(Panel("Difference to DeviceRec", differences, x="difference in NDCG@10"))
    return sheet.figure(panels, height=1.1 + (0.16 * methods + 0.2) * len(labels))


def finding(groups: Sequence[RunGroup]) -> str:
    """The best method of each setting."""
    return "; ".join(f"{group.name}: {_best(group)}" for group in groups) + "."


def in_short(groups: Sequence[RunGroup], pairs: pd.DataFrame) -> list[str]:
    """The findings at the head of a comparison: each setting in itself, then against the first."""
    found = []
    for group in groups:
        gains = [
            f"{group.title(row['method'])} {signed_percent(row['relative'])}{_doubt(row)}"
            for row in records(group.summary.assign(relative=relative_difference(group.summary)))
            if math.isfinite(row["relative"])
        ]
        text = f"{group.name} ({group.label}): {_best(group)}"
        found.append(f"{text}; against DeviceRec: {join(gains)}." if gains else f"{text}.")
    for (reference, name), part in pairs[pairs["devices"] > 0].groupby(["reference", "setting"], sort=False):
        changes = [
            f"{groups[0].title(row['method'])} {signed_percent(row['relative'])}{_doubt(row)}"
            for row in records(_with_relative(part))
        ]
        found.append(f"{name} against {reference}, NDCG@10 of the same devices: {join(changes)}.")
    return found


def warnings(groups: Sequence[RunGroup], pairs: pd.DataFrame) -> list[str]:
    """Settings that cannot be paired, and why."""
    named = {group.name: group for group in groups}
    apart = pairs[pairs["devices"] == 0].drop_duplicates(["reference", "setting"])
    why: dict[tuple[str, str], list[str]] = {}
    for reference, setting in zip(apart["reference"], apart["setting"], strict=True):
        reason = obstacle(named[reference], named[setting]) or "no user is a device of both with the same events"
        why.setdefault((reference, reason), []).append(setting)
    return [
        f"{join(settings)} cannot be paired with {reference}: {reason}."
        for (reference, reason), settings in why.items()
    ]


def results_table(table: pd.DataFrame, title: Callable[[str], str], protocol: str) -> Table:
    """Every method of every setting; ``table`` as for :func:`draw`, with the other columns of a summary."""
    columns = [
        grouped_method_column(title, "in setting"),
        NDCG,
        NDCG_SD,
        Column("Hit@10", "hit@10", quality),
        *AGAINST_DEVICEREC,
        Column("MACs", "macs_m", number, "M"),
        Column("Downlink", "downlink_mbit", number, "Mbit"),
        Column("Served", "served", percent, "of sessions"),
    ]
    key = "; ".join(f"{name}: {label}" for name, label in table.groupby("setting")["label"].first().items())
    caption = f"{key}. ● best NDCG@10 of its setting; small: 95 % intervals. {protocol}"
    return build(table.assign(relative=relative_difference(table)), columns, caption, within=["setting"])


def paired_section(pairs: pd.DataFrame, title: Callable[[str], str]) -> list[Section]:
    """The same devices in other settings; none if there is one setting."""
    if pairs.empty:
        return []
    interval = between("ndcg@10_delta_low", "ndcg@10_delta_high", signed)
    columns = [
        method_column(title),
        Column("Settings", write=lambda row: f"{row['setting']} against {row['reference']}"),
        Column("Devices", "devices", lambda count: f"{count:,}" if count else "none", "in both"),
        Column("Difference", "ndcg@10_delta", signed, unit="95 % interval", note=interval),
        Column("in %", "relative", signed_percent),
        Column("p", "ndcg@10_p", p_text),
    ]
    table = build(_with_relative(pairs), columns, "Difference in NDCG@10, paired bootstrap over devices.")
    return [Section("paired", PAIRED_TITLE, PAIRED_READING, tables=[table])]


def _with_relative(pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs with the difference as a share of the reference's quality, which may be zero."""
    return pairs.assign(relative=quotients(pairs["ndcg@10_delta"], pairs["ndcg@10_reference"]))


def _doubt(row: Row) -> str:
    """Where an interval of a difference holds zero."""
    return "" if told_apart(row) else " (not told apart)"


def _best(group: RunGroup) -> str:
    best = best_row(records(group.summary))
    return f"{group.title(best['method'])} is best with NDCG@10 {quality(best['ndcg@10'])}"
