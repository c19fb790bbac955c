"""How the cloud models were trained."""

from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.run import Run
from analysis.style import Panel, Sheet
from analysis.tables import Column, Table, build, method_column
from analysis.text import quality
from core.schema import TRAINING, names

TITLE = "Training of the cloud models"
READING = (
    "Validation is on the item before each device's live stream, among the candidates, cut-off 10. The weights of the "
    "marked epoch are the ones that were deployed; a method without a curve deploys another one's model."
)
EPOCHS = (1, 5, 10, 20)
"""Equal numbers of epochs that are shown, as far as all methods trained so long."""


def data(run: Run) -> pd.DataFrame | None:
    """The rows of ``training.csv``, methods in the order of the run; None if there are none."""
    if run.training.empty:
        return None
    rank = {
        method: i for i, method in enumerate([*run.methods, *sorted(set(run.training["method"]) - set(run.methods))])
    }
    return run.training[names(TRAINING)].sort_values(
        ["method", "seed", "epoch"], key=lambda c: c.map(rank) if c.name == "method" else c, kind="stable"
    )


def at_epochs(training: pd.DataFrame) -> pd.DataFrame:
    """Validation NDCG@10 by method, mean over seeds: after equally many epochs, and of the epoch that was kept.

    Columns ``method``, one for each of :data:`EPOCHS` that every training reached, ``kept`` and ``epochs`` (trained
    for, mean).
    """
    lengths = training.groupby(["method", "seed"])["epoch"].max()
    means = training.groupby(["method", "epoch"])["valid_ndcg@10"].mean().unstack("epoch")
    frame = means[[epoch for epoch in EPOCHS if epoch <= lengths.min()]].rename(columns="epoch {}".format)
    frame["kept"] = training[training["best"]].groupby("method")["valid_ndcg@10"].mean()
    frame["epochs"] = lengths.groupby("method").mean()
    return frame.loc[training["method"].unique()].rename_axis(columns=None).reset_index()


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """Validation NDCG@10 by epoch, the epoch whose weights were kept marked; and the training loss."""
    width = 1.4 if frame["seed"].nunique() == 1 else 0.9

    def lines(value: str, mark: bool, axis: Axes) -> None:
        for _, rows, arguments in sheet.each(frame):
            for i, (_, mine) in enumerate(rows.groupby("seed", sort=False)):
                best = mine["best"].to_numpy(bool).nonzero()[0].tolist() if mark or len(mine) == 1 else []
                label = {"label": arguments["label"] if i == 0 else None, "linewidth": width, "markersize": 7}
                axis.plot(mine["epoch"], mine[value], markevery=best, **arguments | label)
        style.whole_numbers(axis)

    title = "Validation (marked: the epoch kept)"
    validation = Panel(title, partial(lines, "valid_ndcg@10", True), "epoch", "validation NDCG@10")
    return sheet.figure([validation, Panel("Training loss", partial(lines, "loss", False), "epoch", "training loss")])


def finding(run: Run, frame: pd.DataFrame) -> str:
    """Which epochs were kept, and how good they were in validation."""
    texts = []
    for method, kept in frame[frame["best"]].groupby("method", sort=False):
        length = frame[frame["method"] == method].groupby("seed")["epoch"].max()
        texts.append(
            f"{run.title(str(method))}: epoch {_span(kept['epoch'])} of {_span(length)} kept, "
            f"validation NDCG@10 {quality(float(kept['valid_ndcg@10'].mean()))}"
        )
    return "; ".join(texts) + "." if texts else ""


def tables(run: Run, frame: pd.DataFrame) -> list[Table]:
    """Quality after equally many epochs, as the paper compares, and of the weights that were kept."""
    found = at_epochs(run.training)
    shown = [name for name in found.columns if name not in ("method", "epochs")]
    columns = [
        method_column(run.title, "Model"),
        *(Column(name.capitalize(), name, quality, "NDCG@10", best=max) for name in shown),
        Column("Trained", "epochs", "{:.0f}".format, "epochs"),
    ]
    caption = (
        "● best of its column. Validation items (one a device), mean over seeds: after "
        "equally many epochs, and of the epoch whose weights were kept. A model that starts from another's weights has "
        "that one's epochs behind it."
    )
    return [build(found, columns, caption)]


def _span(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"
