"""Data sets: each loader yields Interactions, and nothing is ever substituted for what was asked for."""

import difflib
import os
from collections.abc import Callable
from pathlib import Path

from core.errors import UserError
from sim.data.amazon import load_amazon_food, load_amazon_game
from sim.data.csvfile import SUFFIXES, load_csv
from sim.data.interactions import Interactions
from sim.data.movielens import load_ml1m, load_ml10m
from sim.data.synthetic import load_stationary, load_synthetic

__all__ = ["DATASETS", "Interactions", "load"]

DATASETS: dict[str, Callable[[Path | None], Interactions]] = {
    "synthetic": load_synthetic,
    "synthetic-stationary": load_stationary,
    "ml1m": load_ml1m,
    "ml10m": load_ml10m,
    "amazon-game": load_amazon_game,
    "amazon-food": load_amazon_food,
}


def load(dataset: str, data_dir: Path | None = None) -> Interactions:
    """Load a data set by name, or a CSV file by path.

    Args:
        dataset: A name in DATASETS, or the path of a .csv, .csv.gz or .csv.xz file.
        data_dir: Folder in which a named data set's raw files are looked for first.

    Raises:
        UserError: The name is unknown, or the data set cannot be had or read.
    """
    if dataset in DATASETS:
        return DATASETS[dataset](data_dir)
    if dataset.endswith(SUFFIXES):
        return load_csv(Path(dataset))
    known = ", ".join(DATASETS)
    if os.sep in dataset:
        raise UserError(f"dataset {dataset!r}: a file must end in {', '.join(SUFFIXES)}; known names are {known}")
    near = difflib.get_close_matches(dataset.lower(), DATASETS, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UserError(f"unknown dataset {dataset!r}: {hint}known are {known}, or the path of a CSV file")
