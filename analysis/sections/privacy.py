"""What requests give away of a device, against the quality that they bring: `python -m analysis.privacy RUN`."""

import sys
from collections.abc import Callable, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from analysis.figures import Drawn
from analysis.labels import name_points
from analysis.page import Section
from analysis.run import Run
from analysis.style import Panel, Sheet
from analysis.tables import Column, Table, build
from analysis.text import interval, number, quality, records
from core.errors import UserError

FILE = "privacy.csv"
TITLE = "What requests give away"
READING = (
    "The cloud trains on the devices' histories, so the secret is the live stream. A marker is what an attacker that "
    "reads all requests of a device finds of it; the bar below it is the same attacker without any request, and what "
    "lies between them is what requests give away. From the items themselves it would have everything."
)
SHOWN = {
    "recall@10": "Last 10 items",
    "membership_matched": "Membership, matched",
    "gender": "Gender",
}
"""The measures of the panels, and their titles."""
NAMES = {
    "recall@1": "last item, recall",
    "recall@10": "last 10 items, recall",
    "recall@50": "last 50 items, recall",
    "membership": "in the past, AUC",
    "membership_matched": "in the past and equally popular, AUC",
    "hit@10": "next item, Hit@10",
    "ndcg@10": "next item, NDCG@10",
    "gender": "gender, AUC",
    "age": "age below 35, AUC",
}
ATTACKS = {
    "popularity": ("popu-\nlarity", "guessing by popularity"),
    "cooccurrence": ("co-occur-\nrence", "guessing by co-occurrence with the known history"),
    "history": ("no\nrequest", "the attacker without requests"),
    "upload": ("one\nrequest", "the attacker with one request"),
    "uploads": ("all so\nfar", "the attacker with all requests so far"),
    "items": ("items\nsent", "if devices sent their items"),
}
"""Columns of the table, by attack: short, and in words."""


def section(run: Run) -> Section | None:
    """The section of a report, with its figure; None if nobody has attacked the run.

    Raises :class:`UserError` if ``privacy.csv`` (:data:`core.schema.PRIVACY`) is damaged.
    """
    file = run.path / FILE
    if not file.is_file():
        return None
    try:
        frame = pd.read_csv(file)
        drawn = Drawn("privacy", sys.modules[__name__], frame, Sheet(run.methods, run.titles, run.references))
        return drawn.section(run.path / "figures", finding(run, frame), tables(run, frame))
    except (KeyError, ValueError) as error:
        again = "python -m analysis.privacy"
        raise UserError(f"{file} is damaged ({error!r}); delete it, or make it again: {again}") from error


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """One panel a measure: quality to the right, leakage upwards."""
    there = [name for name in SHOWN if (frame["measure"] == name).any()]

    def panel(name: str) -> Panel:
        mine = frame[frame["measure"] == name]
        return Panel(SHOWN[name], lambda axis: _dots(axis, mine, sheet), "NDCG@10", NAMES[name].rsplit(", ", 1)[-1])

    figure = sheet.figure([panel(name) for name in there])
    if frame["defence"].nunique() > 1:
        for axis, name in zip(figure.axes, there, strict=True):
            _name(figure, axis, frame[frame["measure"] == name])
    return figure


def _name(figure: Figure, axis: Axes, frame: pd.DataFrame) -> None:
    """Write what each run does beside what is read of its requests."""
    read = records(frame[frame["attack"] == "uploads"])
    bars = [Bbox([[row["quality"], row["low"]], [row["quality"], row["high"]]]) for row in read]
    for row in records(frame[frame["attack"] == "history"]):
        bars.append(Bbox([[row["quality"], row["value"]]] * 2))
    points = [(row["quality"], row["value"]) for row in read]
    name_points(figure, axis, points, [row["defence"] for row in read], bars)


def _dots(axis: Axes, frame: pd.DataFrame, sheet: Sheet) -> None:
    for method, look in sheet.looks(frame["method"].unique().tolist()).items():
        mine = frame[frame["method"] == method]
        found = mine[mine["attack"] == "uploads"]
        bars = [found["value"] - found["low"], found["high"] - found["value"]]
        arguments = sheet.line(method, look) | {"linestyle": "none"}
        axis.errorbar(found["quality"], found["value"], yerr=bars, elinewidth=1, **arguments)
        without = mine[mine["attack"] == "history"]
        axis.plot(without["quality"], without["value"], color=look.colour, marker="_", linestyle="none")
    axis.margins(x=0.25, y=0.12)  # room for names


def finding(run: Run, frame: pd.DataFrame) -> str:
    """What requests add to what the cloud can tell without them, for the method with the most."""
    wide = _wide(frame[frame["measure"] == "membership_matched"]).dropna(subset=["history", "uploads"])
    if wide.empty:
        return ""
    one = wide.iloc[int((wide["uploads"] - wide["history"]).to_numpy().argmax())]
    recall = _wide(frame[(frame["measure"] == "recall@10") & (frame["method"] == one["method"])]).iloc[0]
    return (
        f"From all requests of {run.title(str(one['method']))} an attacker tells an item of the live stream from "
        f"one as popular with AUC {number(one['uploads'])}, without requests {number(one['history'])}; it names "
        f"{number(100 * recall['uploads'])} % of the last ten, without requests {number(100 * recall['history'])} %."
    )


def tables(run: Run, frame: pd.DataFrame) -> list[Table]:
    """All measures and attacks, and what each defence costs."""
    return [table(frame, columns(run.title)), prices(frame, run.title)]


def columns(title: Callable[[str], str]) -> Sequence[Column]:
    """Of :func:`table`."""
    return [
        Column("Method", "method", title),
        Column("Defence", "defence"),
        Column("Measure", "measure", lambda name: NAMES[name]),
        *(
            Column(words[1], attack, quality, note=_interval(attack), short=words[0])
            for attack, words in ATTACKS.items()
        ),
    ]


def table(frame: pd.DataFrame, shown: Sequence[Column]) -> Table:
    """A row a method, defence and measure, a column an attack."""
    first = frame.iloc[0]
    caption = (
        f"Protocol {first['protocol']}, {int(first['devices']):,} devices: the cloud knows their histories, the secret "
        f"are the items of the live stream; {int(first['attackers'])} attackers, 95 % intervals over devices."
    )
    return build(_wide(frame), shown, caption)


def prices(frame: pd.DataFrame, title: Callable[[str], str]) -> Table:
    """What each defence costs: a row a method and defence."""
    rows = frame.drop_duplicates(["run", "method"])
    epsilon = Column("Epsilon", "epsilon_session", number, "a session")
    shown = [
        Column("Method", "method", title),
        Column("Defence", "defence"),
        Column("NDCG@10", "quality", quality),
        Column("Bits", "bits_up", number, "a request"),
        epsilon,
        Column("Epsilon", "epsilon_run", number, "a run, at most"),
    ]
    return build(
        rows, shown, "Epsilon: local differential privacy of the latent interest, delta 1e-5; – without noise."
    )


def _wide(frame: pd.DataFrame) -> pd.DataFrame:
    """A column an attack, with its interval in columns beside it, in the order of the rows."""
    keys = ["run", "method", "defence", "measure"]
    out = frame.drop_duplicates(keys)[keys].reset_index(drop=True)
    for attack in ATTACKS:
        mine = frame[frame["attack"] == attack][[*keys, "value", "low", "high"]]
        names = {"value": attack, "low": f"{attack}_low", "high": f"{attack}_high"}
        out = out.merge(mine.rename(columns=names), on=keys, how="left")
    return out


def _interval(attack: str) -> Callable[..., str]:
    return lambda row: interval(row[f"{attack}_low"], row[f"{attack}_high"])
