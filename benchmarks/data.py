"""What the benchmarks train on: the histories of MovieLens-1M, or made-up ones of the same sizes."""

import os
from pathlib import Path

import numpy as np

from core.seeds import numpy_generator
from sim.config import Config
from sim.data.files import ENVIRONMENT_VARIABLE
from sim.experiment import load_data
from sim.model_cache import training_set
from sim.world.streams import build_streams, eligible_users
from strategies.training.data import TrainingSet

ML1M_ITEMS = 3_011
"""Films of MovieLens-1M that are left after the filter of :mod:`sim.data.movielens`."""
MEDIAN_HISTORY, SPREAD, SHORTEST, LONGEST = 80, 1.0, 15, 1_000
"""Length of MovieLens-1M's histories: median, standard deviation of the logarithm, shortest and longest."""


def histories(data_dir: Path | None, users: int, seed: int) -> tuple[str, TrainingSet]:
    """Name and histories: MovieLens-1M's where a folder for raw data is named, else made-up ones."""
    if data_dir is None and not os.environ.get(ENVIRONMENT_VARIABLE):
        return "made-up", made_up(users, seed)
    return "ml1m", histories_of(Config(dataset="ml1m", data_dir=data_dir, devices=users, seed=seed))


def histories_of(config: Config) -> TrainingSet:
    """What the cloud of a run learns from; of a data set with fewer users, all of them."""
    interactions = load_data(config)
    able = eligible_users(interactions)
    chosen = numpy_generator(config.seed, "devices").choice(len(able), min(config.devices, len(able)), replace=False)
    return training_set(interactions, build_streams(interactions, able[np.sort(chosen)]), config)


def made_up(users: int, seed: int) -> TrainingSet:
    """Histories of MovieLens-1M's lengths with items drawn at random: how fast training is depends on sizes alone."""
    random = numpy_generator(seed, "made-up histories")
    lengths = np.exp(random.normal(np.log(MEDIAN_HISTORY), SPREAD, users)).astype(np.int64).clip(SHORTEST, LONGEST)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    items = random.integers(1, ML1M_ITEMS + 1, offsets[-1]).astype(np.int32)
    return TrainingSet(offsets, items, random.integers(1, ML1M_ITEMS + 1, users), ML1M_ITEMS)
