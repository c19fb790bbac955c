"""How the cloud models were trained."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.run import Run
from analysis.style import Sheet
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
    trained = run.training["method"].unique().tolist()
    order = [m for m in run.methods if m in trained] + sorted(m for m in trained if m not in run.methods)
    rank = {method: i for i, method in enumerate(order)}
    return run.training[names(TRAINING)].sort_values(
        ["method", "seed", "epoch"], key=lambda c: c.map(rank) if c.name == "method" else c, kind="stable"
    )


def at_epochs(training: pd.DataFrame) -> pd.DataFrame:
    """Validation NDCG@10 by method, mean over seeds: after equally many epochs, and of the epoch that was kept.

    Columns ``method``, one for each of :data:`EPOCHS` that every training reached, ``kept`` and ``epochs`` (trained
    for, mean).
    """
    lengths = training.groupby(["method", "seed"])["epoch"].max()
    reached = int(lengths.min())
    shown = [epoch for epoch in EPOCHS if epoch <= reached]
    by_epoch = training.groupby(["method", "epoch"], sort=False)["valid_ndcg@10"].mean()
    kept = training[training["best"]].groupby("method")["valid_ndcg@10"].mean()
    rows = [
        {"method": method}
        | {f"epoch {epoch}": by_epoch[method, epoch] for epoch in shown}
        | {"kept": kept.get(method, float("nan")), "epochs": lengths[method].mean()}
        for method in training["method"].unique()
    ]
    return pd.DataFrame(rows)


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """Validation NDCG@10 by epoch, the epoch whose weights were kept marked; and the training loss."""
    figure, axes = sheet.panels(2)
    _curves(axes[0], sheet, frame, "valid_ndcg@10", mark=True)
    _curves(axes[1], sheet, frame, "loss", mark=False)
    axes[0].set_ylabel("validation NDCG@10")
    axes[1].set_ylabel("training loss")
    for axis in axes:
        axis.set_xlabel("epoch")
        style.whole_numbers(axis)
    style.letter(axes, ["Validation (marked: the epoch kept)", "Training loss"])
    sheet.legend(figure, axes[0])
    return figure


def _curves(axis: Axes, sheet: Sheet, frame: pd.DataFrame, value: str, mark: bool) -> None:
    looks = sheet.looks(frame["method"].unique().tolist())
    seeds = frame["seed"].nunique()
    for (method, _), mine in frame.groupby(["method", "seed"], sort=False):
        arguments = sheet.line(str(method), looks[str(method)])
        if arguments["label"] in axis.get_legend_handles_labels()[1]:
            arguments["label"] = None
        arguments |= {"linewidth": 1.4 if seeds == 1 else 0.9, "markersize": 7}
        best = mine["best"].to_numpy(bool).nonzero()[0].tolist() if mark else []
        axis.plot(mine["epoch"], mine[value], markevery=best, **arguments)


def finding(run: Run, frame: pd.DataFrame) -> str:
    """Which epochs were kept, and how good they were in validation."""
    texts = []
    for method, mine in frame.groupby("method", sort=False):
        kept, length = mine[mine["best"]], mine.groupby("seed")["epoch"].max()
        if kept.empty:
            continue
        texts.append(
            f"{run.title(str(method))}: epoch {_span(kept['epoch'])} of {_span(length)} kept, "
            f"validation NDCG@10 {quality(float(kept['valid_ndcg@10'].mean()))}"
        )
    return "; ".join(texts) + "." if texts else ""


def tables(run: Run, frame: pd.DataFrame) -> list[Table]:
    """Quality after equally many epochs, as the paper compares, and of the weights that were kept."""
    found = at_epochs(run.training)
    columns = [
        method_column(run.title, "Model"),
        *(
            Column(name.capitalize(), name, quality, "NDCG@10", best=max)
            for name in found.columns
            if name not in ("method", "epochs")
        ),
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
