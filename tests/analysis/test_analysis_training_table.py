"""Quality at equal epochs and at convergence, by hand."""

from pathlib import Path

import pandas as pd
import pytest

from analysis.figures.training import at_epochs, tables
from analysis.run import Run


def log(method: str, seed: int, values: list[float], best: int) -> pd.DataFrame:
    epochs = range(1, len(values) + 1)
    rows = [(method, seed, e, v, e == best) for e, v in zip(epochs, values, strict=True)]
    return pd.DataFrame(rows, columns=["method", "seed", "epoch", "valid_ndcg@10", "best"])


def test_equal_epochs_are_those_that_every_training_reached() -> None:
    training = pd.concat(
        [
            log("devicerec", 0, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], best=6),
            log("devicerec", 1, [0.3, 0.2, 0.3, 0.4, 0.7, 0.2], best=5),
            log("duet", 0, [0.4, 0.5, 0.1, 0.1, 0.2], best=2),
        ]
    )
    frame = at_epochs(training).set_index("method")
    assert list(frame.columns) == ["epoch 1", "epoch 5", "kept", "epochs"]
    assert frame.loc["devicerec"].tolist() == pytest.approx([0.2, 0.6, 0.65, 6])
    assert frame.loc["duet"].tolist() == pytest.approx([0.4, 0.2, 0.5, 5])
    marks = [[cell.best for cell in row] for row in tables(Run(Path(), {}, pd.DataFrame(), training), training)[0].rows]
    assert marks == [[False, False, True, True, False], [False, True, False, False, False]]
