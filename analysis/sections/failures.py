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
    counts = run.sessions["status"].value_counts()
    found = [f"{counts[name]:,} {name} ({STATUSES[name]})" for name in FAULTS if counts.get(name, 0)]
    if not found:
        return []
    whole = plural(sum(int(counts.get(name, 0)) for name in FAULTS), "device-session")
    return [f"{whole} were not computed as intended: {join(found)}. See run.log; the numbers of all methods suffer."]


def table(frame: pd.DataFrame, title: Callable[[str], str]) -> Table:
    """What :func:`analysis.tiers.statuses` gives; with a column ``setting`` its letters come first.

    A fault of the software has a column only if it happened.
    """
    shown = [name for name in STATUSES if name not in FAULTS or frame[name].any()]
    columns = [
        grouped_method_column(title, "devices", note=lambda row: str(row["tier"])),
        Column("Sessions", "sessions", "{:,}".format),
        *(Column(name.capitalize(), name, "{:,}".format, explanation=_explained(name)) for name in shown),
    ]
    return build(frame, columns, CAPTION)


def _explained(status: str) -> str:
    return "" if status == "ok" else f"{status.capitalize()}: {STATUSES[status]}."
