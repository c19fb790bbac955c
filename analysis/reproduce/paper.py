"""The paper's numbers, and what is wrong with them."""

import math
from collections.abc import Sequence

import pandas as pd

from analysis.reproduce.options import BLOCKS
from analysis.stats import change, ratio
from core.paper import read

CONTEXT = 5
"""Items that a network reads at once."""

IMPROVEMENT = "improvement"
"""Named like a method: Forward-OFA against DeviceRec, in per cent for quality, as a factor for costs."""


def quality(target: str) -> pd.DataFrame:
    """Tables 1, 2, 3, 4 and 7: columns ``backbone, dataset, method, metric, paper``, in the paper's order."""
    table = read(target)
    columns = [(dataset, metric) for dataset in table["datasets"] for metric in table["metrics"]]
    rows = [
        (backbone, dataset, method, metric, value)
        for backbone in BLOCKS
        for method, values in table[backbone].items()
        for (dataset, metric), value in zip(columns, values, strict=True)
    ]
    return pd.DataFrame(rows, columns=["backbone", "dataset", "method", "metric", "paper"])


def improvement(ours: float, baseline: float, metric: str) -> float:
    """What the paper calls "Improv.": per cent more quality, or how many times less cost; NaN where one is nothing."""
    if not ours or not baseline:
        return math.nan
    return 100 * change(ours, baseline) if metric in ("ndcg", "hit") else ratio(baseline, ours)


def statistics(dataset: str) -> Sequence[float] | None:
    """Table 6: users, items, interactions, mean length, sparsity in per cent; None for other data."""
    found: Sequence[float] | None = read("table6")["datasets"].get(dataset)
    return found
