"""How devices come to their networks, side by side: quality, traffic, energy and computing of each delivery."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.figures import Drawn
from analysis.page import Section
from analysis.run_groups import RunGroup, delivery
from analysis.sections import privacy
from analysis.style import Panel, Sheet
from analysis.summary_table import NDCG, SERVED
from analysis.tables import Column, build, grouped_method_column
from analysis.text import number, percent, quality, records
from core import atomic, schema

TITLE = "How a network comes to its device"
READING = (
    "Weights: the cloud sends the weights of the blocks. Code: the bases of a low-rank mapper are installed, and the "
    "cloud sends gains and shifts, which the device folds into weights. Local: the whole mapper is installed, and the "
    "device makes its network itself; nothing is asked and nothing is sent. The first month is the model that is "
    "installed and the sessions that begin within 30 days of a device's first. Where nothing is delivered, all "
    "settings are the same. Named: of the last ten new items of a live stream, the share that an attacker in the cloud "
    "names who reads all requests of the device; where nothing is asked, one who reads none."
)
LEAK = "recall@10"
"""The measure of ``privacy.csv`` that stands beside quality and costs."""
_PANELS = {
    "ndcg@10": "NDCG@10",
    "month_mbit": "Mbit in the first month",
    "month_joules": "J in the first month",
    "macs_session_m": "M MACs a session",
    "named": "Last ten items named",
}


def sections(groups: Sequence[RunGroup], table: pd.DataFrame, folder: Path, sheet: Sheet) -> list[Section]:
    """Figure and table, and ``deliveries.csv`` in ``folder``; nothing where all settings have the same delivery.

    ``table`` is that of the comparison.
    """
    ways = {group.name: delivery(group.options) for group in groups}
    if len(set(ways.values())) < 2:
        return []
    frame = by_delivery(table, ways, given_away(groups))
    atomic.write(folder / "deliveries.csv", frame.to_csv(index=False))
    drawn = Drawn("deliveries", sys.modules[__name__], frame, sheet)
    return [drawn.section(folder / "figures", finding(frame, sheet.title), [build(frame, _columns(sheet.title))])]


def given_away(groups: Sequence[RunGroup]) -> pd.DataFrame:
    """Share of a device's last ten new items that an attacker names, by setting, method and attack.

    From ``privacy.csv`` of the runs that have been attacked (:mod:`analysis.privacy`). Columns ``setting``, ``method``,
    ``attack`` (``uploads``: who reads all requests; ``history``: who reads none) and ``value``.
    """
    found = []
    for group in groups:
        for file in (run.path / privacy.FILE for run in group.runs):
            if file.is_file():
                rows = pd.read_csv(file)
                found.append(rows[rows["measure"] == LEAK].assign(setting=group.name))
    columns = ["setting", "method", "attack", "value"]
    return pd.concat(found)[columns] if found else pd.DataFrame(columns=columns)


def by_delivery(table: pd.DataFrame, ways: dict[str, str], leaks: pd.DataFrame | None = None) -> pd.DataFrame:
    """The columns :data:`core.schema.DELIVERIES`, of the methods whose networks are delivered in some setting.

    ``leaks`` as of :func:`given_away`. Where a method asks for nothing, an attacker has no request of it: what it names
    is what the attackers of the other settings name without one.
    """
    frame = table.assign(delivery=table["setting"].map(ways))
    frame["session_mbit"] = frame["uplink_kbit"] / 1e3 + frame["downlink_mbit"]
    receives = frame.loc[frame["session_mbit"] > 0, "method"].unique()
    frame["named"] = float("nan")
    if leaks is not None and len(leaks):
        read = leaks[leaks["attack"] == "uploads"].groupby(["setting", "method"])["value"].mean()
        unread = leaks[leaks["attack"] == "history"].groupby("method")["value"].mean()
        keys = pd.MultiIndex.from_frame(frame[["setting", "method"]])
        silent = frame["method"].map(unread).where(frame["session_mbit"] == 0)
        frame["named"] = pd.Series(read.reindex(keys).to_numpy(), index=frame.index).fillna(silent)
    found: pd.DataFrame = frame.loc[frame["method"].isin(receives), schema.names(schema.DELIVERIES)]
    return found.reset_index(drop=True)


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """Quality, traffic and energy of the first month, and computing, by delivery; see :func:`by_delivery`."""
    ways = frame["delivery"].str.replace("code of ", "code ").str.replace(" bits", "")
    if frame.duplicated(["delivery", "method"]).any():  # settings that differ in something else, too
        ways = frame["setting"] + ": " + ways
    shown = frame.assign(way=ways)

    def dots(value: str, axis: Axes) -> None:
        ends = ["ndcg@10_low", "ndcg@10_high"] if value == "ndcg@10" else []
        sheet.dots(axis, shown, "way", value, *ends)
        if value != "ndcg@10":
            style.from_zero(axis)

    panels = [Panel(title, partial(dots, value)) for value, title in _PANELS.items() if shown[value].notna().any()]
    return sheet.figure(panels, height=2.5, most=2)


def finding(frame: pd.DataFrame, title: Callable[[str], str]) -> str:
    """Each method in each delivery."""
    texts = []
    for method, mine in frame.groupby("method", sort=False):
        parts = [
            f"{row['delivery']}: NDCG@10 {quality(row['ndcg@10'])}, {number(row['session_mbit'])} Mbit and "
            f"{number(row['joules'])} J a session, {number(row['month_mbit'])} Mbit and {number(row['month_joules'])} "
            "J in the first month"
            for row in records(mine)
        ]
        texts.append(f"{title(str(method))}: {'; '.join(parts)}.")
    return " ".join(texts)


def _columns(title: Callable[[str], str]) -> list[Column]:
    return [
        grouped_method_column(title, "in setting", lambda row: row["delivery"]),
        NDCG,
        Column("Traffic", "session_mbit", number, "Mbit a session"),
        Column("Uplink", "uplink_kbit", number, "kbit a session"),
        Column("Energy", "joules", number, "J a session"),
        Column("MACs", "macs_session_m", number, "M a session"),
        Column("Installed", "installed_mbit", number, "Mbit a device"),
        Column("Traffic", "month_mbit", number, "Mbit in the first month"),
        Column("Energy", "month_joules", number, "J in the first month"),
        Column("Named", "named", percent, "of the last ten new items, by an attacker"),
        SERVED,
    ]
