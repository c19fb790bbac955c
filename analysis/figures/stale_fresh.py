"""Stale against fresh: what a network made for this very session gains over the one of the last adaptation."""

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import curves, style
from analysis.drift import asking
from analysis.run import Run
from analysis.style import Sheet
from analysis.tables import Column, Table, build, method_column
from analysis.text import between, join, percent, records, signed

TITLE = "Stale against fresh networks"
READING = (
    "Every session of a method that adapts was played twice: with the network of the device's last adaptation (stale) "
    "and with one made for this session (fresh). The curve is the difference on the same sessions; the bands are 95 % "
    "bootstrap intervals over devices. Under a policy that often asks, the stale network is young. The comparison is "
    "the simulator's own and costs the devices nothing."
)
COLUMNS = ["axis", "method", "at", "devices", "gain", "low", "high"]


def data(run: Run) -> pd.DataFrame | None:
    """Columns :data:`COLUMNS`: NDCG@10 with the fresh network minus that with the stale one, on the same sessions.

    ``axis`` is ``session`` (``at``: number of the session, from 2: the first has no stale network) and, if devices
    change, ``change`` (``at``: sessions since the change). None if the run did not compare.
    """
    if "ndcg_stale" not in run.sessions:
        return None
    rows = run.sessions[run.sessions["ndcg_stale"].notna() & (run.sessions["session"] > 0)]
    played = set(rows["method"])
    gains = rows.assign(ndcg=rows["ndcg_fresh"] - rows["ndcg_stale"])
    return curves.by_session(run.sessions, gains, [method for method in run.methods if method in played], COLUMNS)


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """The gain over sessions, and around the change."""

    def gain(axis: Axes) -> None:
        style.zero_line(axis)
        axis.set_ylabel("gain in NDCG@10")

    return curves.draw_by_session(frame, sheet, "gain", gain)


def finding(run: Run, frame: pd.DataFrame) -> str:
    """What a fresh network in every session would gain, and how much of that the devices got."""
    gains, captured = [], []
    for row in records(_gains(run)):
        doubt = " (not told apart from none)" if row["gain_low"] <= 0 <= row["gain_high"] else ""
        gains.append(f"{run.title(row['method'])} {signed(row['gain_all'])}{doubt}")
        if math.isfinite(row["captured_low"]):
            captured.append(f"{run.title(row['method'])} {percent(row['captured'])} ({percent(row['rate'])})")
    text = f"A fresh network in every session would gain, in NDCG@10: {join(gains)}."
    if captured:
        text += f" Captured of that, with adaptations in so many sessions: {join(captured)}."
    return text


def tables(run: Run, frame: pd.DataFrame) -> list[Table]:
    """The gain of all fresh networks, and the revenue captured: :func:`analysis.drift.asking`."""
    columns = [
        method_column(run.title),
        Column(
            "Gain of all",
            "gain_all",
            signed,
            "NDCG@10",
            note=between("gain_low", "gain_high", signed),
            explanation="Gain of all: what a fresh network in every session after the first would gain over the stale "
            "ones.",
        ),
        Column("Adaptations", "rate", percent, "of sessions"),
        Column(
            "Revenue captured",
            "captured",
            percent,
            note=between("captured_low", "captured_high", percent),
            explanation="Revenue captured: the part of it in the sessions in which the device did adapt; without an "
            "interval where the gain of all may be none.",
        ),
    ]
    return [build(_gains(run), columns, "Small: 95 % intervals over devices.")]


def _gains(run: Run) -> pd.DataFrame:
    found = asking(run.sessions, run.methods)
    return found[found["gain_all"].notna()]
