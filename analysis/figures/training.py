"""How the cloud models were trained."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.loading import TRAINING_COLUMNS, Run

TITLE = "Training of the cloud models"


def data(run: Run) -> pd.DataFrame | None:
    """The rows of ``training.csv``, methods in the order of the run; None if there are none."""
    if run.training.empty:
        return None
    trained = run.training["method"].unique().tolist()
    order = [m for m in run.methods if m in trained] + sorted(m for m in trained if m not in run.methods)
    rank = {method: i for i, method in enumerate(order)}
    return run.training[list(TRAINING_COLUMNS)].sort_values(
        ["method", "seed", "epoch"], key=lambda c: c.map(rank) if c.name == "method" else c, kind="stable"
    )


def draw(frame: pd.DataFrame) -> Figure:
    """Validation NDCG@10 by epoch, the epoch whose weights were kept marked; and the training loss."""
    figure, axes = style.panels(2)
    _curves(axes[0], frame, "valid_ndcg@10", mark=True)
    _curves(axes[1], frame, "loss", mark=False)
    axes[0].set_ylabel("validation NDCG@10")
    axes[1].set_ylabel("training loss")
    for axis in axes:
        axis.set_xlabel("epoch")
        style.whole_numbers(axis)
    style.letter(axes, ["Validation (marked: the epoch kept)", "Training loss"])
    style.legend(figure, axes[0])
    return figure


def _curves(axis: Axes, frame: pd.DataFrame, value: str, mark: bool) -> None:
    looks = style.looks(frame["method"].unique().tolist())
    seeds = frame["seed"].nunique()
    for (method, _), mine in frame.groupby(["method", "seed"], sort=False):
        arguments = style.line(str(method), looks[str(method)])
        if arguments["label"] in axis.get_legend_handles_labels()[1]:
            arguments["label"] = None
        arguments |= {"linewidth": 1.4 if seeds == 1 else 0.9, "markersize": 7}
        best = mine["best"].to_numpy(bool).nonzero()[0].tolist() if mark else []
        axis.plot(mine["epoch"], mine[value], markevery=best, **arguments)
