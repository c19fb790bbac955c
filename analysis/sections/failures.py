"""What became of the device-sessions, where not all of them ended well."""

from collections.abc import Callable

import pandas as pd

from analysis.page import Section
from analysis.run import Run
from analysis.stats import ratio
from analysis.tables import Column, Table, build, grouped_method_column
from analysis.text import join, percent, plural
from analysis.tiers import statuses
from core.schema import FAULTS, STATUSES

TITLE = "What became of the sessions"
READING = (
    "What the device mix lets fail happens to all methods alike, except that a device that asks nothing is never "
    "late. The round goes on without the device; its session counts, with what it did and what it cost."
)
CAPTION = "Dropped and vanished sessions have no hits."


def section(run: Run) -> Section | None:
    """The device-sessions by what became of them; None if all ended well."""
    frame = statuses(run.sessions, run.tiers, run.methods)
    if frame is None:
        return None
    share = 1 - ratio(frame["ok"].sum(), frame["sessions"].sum())
    said = f"{percent(share)} of all device-sessions did not end well."
    return Section("failures", TITLE, READING, said, tables=[table(frame, run.title)])


def warnings(run: Run) -> list[str]:
    """Faults of the software, which are no result of the simulation."""
    counts = run.sessions["status"].value_counts().reindex(list(FAULTS), fill_value=0)
    found = join([f"{count:,} {name} ({STATUSES[str(name)]})" for name, count in counts.items() if count])
    whole = plural(int(counts.sum()), "device-session")
    text = f"{whole} were not computed as intended: {found}. See run.log; the numbers of all methods suffer."
    return [text] if found else []


def table(frame: pd.DataFrame, title: Callable[[str], str]) -> Table:
    """What :func:`analysis.tiers.statuses` gives; with a column ``setting`` its letters come first.

    A fault of the software has a column only if it happened.
    """
    columns = [
        grouped_method_column(title, "devices", note=lambda row: str(row["tier"])),
        Column("Sessions", "sessions", "{:,}".format),
    ]
    for name, meaning in STATUSES.items():
        if name not in FAULTS or frame[name].any():
            word = name.capitalize()
            columns.append(Column(word, name, "{:,}".format, explanation=f"{word}: {meaning}." if name != "ok" else ""))
    return build(frame, columns, CAPTION)
