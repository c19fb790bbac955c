"""Trained models at equal epochs, as the paper compares them, and at convergence, as a user would deploy them."""

import pandas as pd

from analysis.names import quality, title
from analysis.page import Cell, Table, column

EPOCHS = (1, 5, 10, 20)
"""Equal numbers of epochs that are shown, as far as all methods trained so long."""


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
        | {"kept": kept[method], "epochs": lengths[method].mean()}
        for method in training["method"].unique()
    ]
    return pd.DataFrame(rows)


def table(training: pd.DataFrame) -> Table:
    """The same for a page."""
    frame = at_epochs(training)
    names = [name for name in frame.columns if name not in ("method", "epochs")]
    columns = [[Cell(title(method)) for method in frame["method"]]]
    columns += [column(frame[n].tolist(), [quality(v) for v in frame[n]], frame[n].max()) for n in names]
    columns.append([Cell(f"{epochs:.0f}") for epochs in frame["epochs"]])
    header = [("Model", ""), *((name.capitalize(), "NDCG@10") for name in names), ("Trained", "epochs")]
    caption = (
        "● best of its column. Validation items (one a device, all items are candidates), mean over seeds: after "
        "equally many epochs, and of the epoch whose weights were kept. A model that starts from another's weights has "
        "that one's epochs behind it."
    )
    return Table(caption, header, [list(cells) for cells in zip(*columns, strict=True)])
