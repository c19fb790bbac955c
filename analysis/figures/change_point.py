"""Quality around the change of interest: every device's sessions, aligned at its own change point."""

import math

import pandas as pd
from matplotlib.figure import Figure

from analysis import curves
from analysis.drift import around, sessions_from_change, two_ends
from analysis.run import Run
from analysis.style import Sheet
from analysis.tables import Column, Table, build, method_column
from analysis.text import Row, between, p_text, percent, plural, quality, signed, signed_percent

TITLE = "Quality around the change of interest"
READING = (
    "Every device's sessions are counted from its own change of interest, so 0 is the session in which it happens. "
    "The further a curve falls at 0, the more the method relied on the old interest; how soon it rises again is its "
    "recovery. The bands are 95 % bootstrap intervals over devices."
)


def data(run: Run) -> pd.DataFrame | None:
    """Columns :data:`curves.COLUMNS`, ``at`` being the distance in sessions; None if no device changes in the run."""
    at = sessions_from_change(run.sessions).dropna().astype("int64")
    at = at[curves.enough(run.sessions.loc[at.index], at)]
    if not ((at < 0).any() and (at >= 0).any()):
        return None
    return curves.along(run.sessions.loc[at.index], at, run.methods)


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """The panels of quality over sessions, with the change marked."""
    return sheet.figure(curves.quality_panels(sheet, frame, curves.mark_change))


def finding(run: Run, frame: pd.DataFrame) -> str:
    """What the change costs every method in its session, on the devices that play it and the one before."""
    table, devices = two_ends(run.sessions, sessions_from_change(run.sessions), -1, 0)
    parts = [
        f"{run.title(method)} {signed_percent(table['change'][method])}"
        for method in run.methods
        if method in table.index and math.isfinite(table["change"][method])
    ]
    if not parts:
        return ""
    return (
        "NDCG@10 in the session of the change, against the session before it, of the "
        f"{plural(devices, 'device')} that have both: {'; '.join(parts)}."
    )


def tables(run: Run, frame: pd.DataFrame) -> list[Table]:
    """Every method before, during and after the change: :func:`analysis.drift.around`."""
    found = around(run.sessions, run.methods)
    if found.empty:
        return []
    columns = [
        method_column(run.title),
        *BEFORE,
        AFTER,
        *AFTER_AGAINST_DEVICEREC,
        RECOVERY,
        SECOND,
    ]
    after, both = plural(int(found["devices"].max()), "device"), f"{int(found['both'].max()):,}"
    caption = (
        f"After: the {after} that play after their change; before, during and kept: the {both} of them that play "
        "before it, too. ● best of its column; small: 95 % intervals over devices, paired for differences."
    )
    return [build(found, columns, caption)]


def _recovery(row: Row) -> str:
    """Sessions until the level before the change is back."""
    if math.isnan(row["unrecovered"]):
        return "–"
    return "not in the run" if math.isnan(row["recovery"]) else f"{row['recovery']:.0f}"


def _recovery_note(row: Row) -> str:
    """How sure that is."""
    known = math.isfinite(row["recovery_low"]) and row["recovery_low"] < row["recovery_high"]
    notes = [f"{row['recovery_low']:.0f} to {row['recovery_high']:.0f}"] if known else []
    if 0 < row["unrecovered"] < 1:
        notes.append(f"not in {percent(row['unrecovered'])} of the draws")
    return "; ".join(notes)


BEFORE = (
    Column("Before", "before", quality, "NDCG@10", best=max),
    Column("During", "during", quality, "NDCG@10", best=max),
    Column("Kept", "kept", percent, "after, of before", best=max),
)
AFTER = Column("After", "after", quality, "95 % interval", best=max, note=between("after_low", "after_high"))
AFTER_AGAINST_DEVICEREC = (
    Column(
        "Difference",
        "after_delta",
        signed,
        "to DeviceRec, after",
        note=between("after_delta_low", "after_delta_high", signed),
        optional=True,
    ),
    Column(
        "in %",
        "after_relative",
        signed_percent,
        note=between("after_relative_low", "after_relative_high", signed_percent),
        optional=True,
    ),
    Column("p", "after_p", p_text, optional=True),
)
RECOVERY = Column(
    "Back at 90 %",
    write=_recovery,
    unit="after sessions",
    note=_recovery_note,
    explanation="Back at 90 %: the first session, counted from that of the change (0), in which the mean over devices "
    "is at 90 % of its level before, of the devices that play it.",
)
SECOND = Column(
    "Second session",
    "second",
    percent,
    "of before",
    note=between("second_low", "second_high", percent),
    explanation="Second session: its NDCG@10, counted from that of the change (0), over that before.",
    optional=True,
)
"""Columns of a frame of :func:`analysis.drift.around`."""
