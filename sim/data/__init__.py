"""Data sets: each loader yields Interactions, and nothing is ever substituted for what was asked for."""

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import UserError
from core.registry import Registry

if TYPE_CHECKING:
    from sim.data.interactions import Interactions

__all__ = ["DATASETS", "load"]

DATASETS: "Registry[Callable[..., Interactions]]" = Registry(
    {
        "synthetic": "sim.data.synthetic:load_synthetic",
        "ml1m": "sim.data.movielens:load_ml1m",
        "ml10m": "sim.data.movielens:load_ml10m",
        "amazon-game": "sim.data.amazon:load_amazon_game",
        "amazon-food": "sim.data.amazon:load_amazon_food",
    }
)
"""The loaders by the names of their data sets, imported when they are used."""
GENERATED = "synthetic"
"""The data set whose loader also takes how many users it has at least."""


def load(
    dataset: str,
    data_dir: Path | None = None,
    *,
    columns: str | None = None,
    ties: str = "file",
    seed: int = 0,
    users: int = 0,
) -> "Interactions":
    """Load a data set by name, or a file by path.

    Args:
        dataset: A name in DATASETS, or the path of a file that ends in one of SUFFIXES.
        data_dir: Folder in which a named data set's raw files are looked for first.
        columns: Which columns of a file hold user, item and time: ``user=userId,item=movieId,time=timestamp``, or
            indices from 0; None where they have usual names.
        ties: Order of the rows of one user with equal times: ``file``, as they come, or ``shuffled``.
        seed: Of that shuffling.
        users: At least so many where the data set is generated; others have those that they have.

    Raises:
        UserError: The name is unknown, or the data set cannot be had or read.
    """
    from core.seeds import numpy_generator

    interactions = _load(dataset, data_dir, columns, users)
    return interactions.shuffle_ties(numpy_generator(seed, "ties")) if ties == "shuffled" else interactions


def _load(dataset: str, data_dir: Path | None, columns: str | None, users: int) -> "Interactions":
    if dataset in DATASETS:
        if columns is not None:
            raise UserError(f"--columns is for files; the columns of {dataset} are known, leave it out")
        return DATASETS[dataset](data_dir, users) if dataset == GENERATED else DATASETS[dataset](data_dir)
    from sim.data.table import SUFFIXES, load_table

    if dataset.lower().endswith(SUFFIXES):
        return load_table(Path(dataset).expanduser(), columns)
    known = ", ".join(DATASETS)
    if os.sep in dataset or Path(dataset).suffix:
        kinds = ", ".join(SUFFIXES[::3])
        raise UserError(
            f"dataset {dataset!r}: a file must end in {kinds}, or these and .gz or .xz; known names are {known}"
        )
    near = difflib.get_close_matches(dataset.lower(), DATASETS, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UserError(f"unknown dataset {dataset!r}: {hint}known are {known}, or the path of a file of interactions")
