"""The tables of a report on drifting interests, and what they say in words."""

import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from analysis.drift import around, asking
from analysis.loading import Run
from analysis.names import interval, join, number, p_text, percent, quality, signed, signed_percent, title
from analysis.page import Cell, Table, column

READINGS = {
    "stale_fresh": (
        "Every session of a method that adapts was played twice: with the network of the device's last adaptation "
        "(stale) and with one made for this session (fresh). The curve is the difference on the same sessions; the "
        "bands are 95 % bootstrap intervals over devices. Under a policy that often asks, the stale network is young. "
        "The comparison is the simulator's own and costs the devices nothing."
    ),
    "requests": (
        "The share of the devices that adapt before a session, whether they ask the cloud or train on their own. The "
        "session of the change is 0: a device decides before it plays, so it can know of the change from 1 on."
    ),
}
"""How to read the figures above the tables."""


def tables(name: str, run: Run) -> list[Table]:
    """The tables that belong to the figure of this name."""
    return [_TABLES[name](run)] if name in _TABLES else []


def _change_table(run: Run) -> Table:
    frame = around(run.sessions, run.methods)
    compared = frame["after_delta"].notna().any()
    header = [
        ("Method", ""),
        ("Before", "NDCG@10"),
        ("During", "NDCG@10"),
        ("After", "95 % interval"),
        ("After", "to before"),
        *([("Difference", "to DeviceRec, after"), ("p", "")] if compared else []),
        ("Back at 90 %", "after sessions"),
    ]
    columns = [
        [Cell(title(method)) for method in frame["method"]],
        *(column(frame[p].tolist(), [quality(v) for v in frame[p]], frame[p].max()) for p in ("before", "during")),
        [
            Cell(quality(value), value == frame["after"].max(), interval(low, high))
            for value, low, high in zip(frame["after"], frame["after_low"], frame["after_high"], strict=True)
        ],
        [
            Cell(signed_percent(after / before - 1))
            for after, before in zip(frame["after"], frame["before"], strict=True)
        ],
    ]
    if compared:
        bounds = zip(frame["after_delta"], frame["after_delta_low"], frame["after_delta_high"], strict=True)
        columns += [
            [Cell(signed(value), note=interval(low, high, signed)) for value, low, high in bounds],
            [Cell(p_text(p)) for p in frame["after_p"]],
        ]
    columns.append([recovery_cell(row) for row in frame.to_dict("records")])
    caption = (
        f"The {int(frame['devices'].max()):,} devices whose change the run reaches. ● best of its column; small: 95 % "
        "intervals over devices, paired for differences. Back at 90 %: the first session, counted from that of the "
        "change (0), in which the mean over devices is at 90 % of its level before."
    )
    return Table(caption, header, [list(cells) for cells in zip(*columns, strict=True)])


def recovery_cell(row: dict[Any, Any]) -> Cell:
    """Sessions until the level before the change is back: a row of :func:`analysis.drift.around`."""
    if math.isnan(row["unrecovered"]):
        return Cell("–")
    text = "not in the run" if math.isnan(row["recovery"]) else f"{row['recovery']:.0f}"
    known = math.isfinite(row["recovery_low"]) and row["recovery_low"] < row["recovery_high"]
    notes = [f"{row['recovery_low']:.0f} to {row['recovery_high']:.0f}"] if known else []
    if 0 < row["unrecovered"] < 1:
        notes.append(f"not in {percent(row['unrecovered'], 0)} of the draws")
    return Cell(text, note="; ".join(notes))


def _request_table(run: Run) -> Table:
    frame = asking(run.sessions, run.methods)
    columns = [[Cell(title(method)) for method in frame["method"]], [Cell(percent(rate)) for rate in frame["rate"]]]
    header = [("Method", ""), ("Adaptations", "of sessions")]
    if frame["noticed"].notna().any():
        header += [("Noticed", "changes"), ("Delay", "sessions"), ("False alarms", "of calm sessions")]
        columns += [
            [Cell(percent(share)) for share in frame["noticed"]],
            [Cell(number(delay)) for delay in frame["delay"]],
            [Cell(percent(share)) for share in frame["false_alarms"]],
        ]
    header += [("Traffic", "Mbit a session"), ("Adapting", "device, ms a session"), ("NDCG@10", "95 % interval")]
    bounds = zip(frame["ndcg@10"], frame["low"], frame["high"], strict=True)
    columns += [
        [Cell(number(value)) for value in frame["mbit"]],
        [Cell(number(1e3 * value)) for value in frame["seconds"]],
        [Cell(quality(value), note=interval(low, high)) for value, low, high in bounds],
    ]
    caption = (
        "Adaptations: of the sessions after a device's first. Noticed: changes with sessions after them in one of "
        "which the device adapts; delay: sessions until then. Calm sessions begin before the change, or have none. "
        "Adapting: until the device has its network, for Finetune the training itself; mean over all sessions."
    )
    return Table(caption, header, [list(cells) for cells in zip(*columns, strict=True)])


def _gain_table(run: Run) -> Table:
    frame = asking(run.sessions, run.methods)
    frame = frame[frame["gain_all"].notna()]
    header = [("Method", ""), ("Gain of all", "NDCG@10"), ("Adaptations", "of sessions"), ("Revenue captured", "")]
    gains = zip(frame["gain_all"], frame["gain_low"], frame["gain_high"], strict=True)
    shares = zip(frame["captured"], frame["captured_low"], frame["captured_high"], strict=True)
    columns = [
        [Cell(title(method)) for method in frame["method"]],
        [Cell(signed(value), note=interval(low, high, signed)) for value, low, high in gains],
        [Cell(percent(rate)) for rate in frame["rate"]],
        [Cell(percent(value), note=interval(low, high, percent)) for value, low, high in shares],
    ]
    caption = (
        "Gain of all: what a fresh network in every session after the first would gain over the stale ones. Revenue "
        "captured: the part of it in the sessions in which the device did adapt; without an interval where the gain of "
        "all may be none. Small: 95 % intervals over devices."
    )
    return Table(caption, header, [list(cells) for cells in zip(*columns, strict=True)])


_TABLES: dict[str, Callable[[Run], Table]] = {
    "change_point": _change_table,
    "requests": _request_table,
    "stale_fresh": _gain_table,
}


def _requests(run: Run, frame: pd.DataFrame) -> str:
    found = asking(run.sessions, run.methods)
    parts = []
    for row in found.to_dict("records"):
        text = f"{title(row['method'])} adapts in {percent(row['rate'])} of the sessions"
        if math.isfinite(row["delay"]):
            text += (
                f", {number(row['delay'])} sessions after a change if it notices it ({percent(row['noticed'])} do), "
                f"and in {percent(row['false_alarms'])} of the calm ones"
            )
        parts.append(text)
    return f"{'; '.join(parts)}."


def _stale_fresh(run: Run, frame: pd.DataFrame) -> str:
    found = asking(run.sessions, run.methods)
    gains, captured = [], []
    for row in found[found["gain_all"].notna()].to_dict("records"):
        doubt = " (not told apart from none)" if row["gain_low"] <= 0 <= row["gain_high"] else ""
        gains.append(f"{title(row['method'])} {signed(row['gain_all'])}{doubt}")
        if math.isfinite(row["captured_low"]):
            captured.append(f"{title(row['method'])} {percent(row['captured'])} ({percent(row['rate'])})")
    text = f"A fresh network in every session would gain, in NDCG@10: {join(gains)}."
    if captured:
        text += f" Captured of that, with adaptations in so many sessions: {join(captured)}."
    return text


FINDINGS: dict[str, Callable[[Run, pd.DataFrame], str]] = {"requests": _requests, "stale_fresh": _stale_fresh}
"""The key numbers of these figures in a sentence or two."""
