"""What the cloud knows when the live streams begin: histories, extractors, counts; and the requests that it has got.

In protocol ``stream`` the cloud trains on the devices' own histories. What it does not know is the live stream: that is
the secret which an attacker looks for, and an item of a history is never counted as found.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from clients.upload import UploadForm
from core import sealed
from core.errors import UserError
from core.run_folder import WORLD_FIX, RunFolder, finished_options, of_one_model, read_config
from models.candidates import seen_before
from models.checkpoint import Installed, check_model, load_device
from models.references import Reference
from sim import data
from sim.config import Config
from sim.data.interactions import Interactions
from sim.model_cache import training_set
from sim.world.streams import Streams, split_instant
from strategies.references import fit_cooccurrence
from strategies.training.data import TrainingSet

SMALLEST = 1e-5
"""Added to an item's share of the co-occurrence scores before its logarithm is taken."""


@dataclass(frozen=True)
class Observed:
    """``K`` users as the attacker sees them: what it knows of each, and the ``N`` requests that each made from then on.

    Requests stand in order, those of one user together. ``I`` items, ``F`` numbers of a request.
    """

    known: list[np.ndarray]
    """``K`` histories, oldest item first."""
    known_codes: np.ndarray
    """``(K, F)`` float32: what the extractors make of each history."""
    prior: np.ndarray
    """``(K, I)`` float32: logarithm of each item's share of the co-occurrence scores after the history."""
    owner: np.ndarray
    """``(N,)``: whose request it is, ascending."""
    codes: np.ndarray
    """``(N, F)`` float32: paths as 1 and -1, then latent interests as they were read."""
    live: list[np.ndarray]
    """``N``: the items since the history, before the request, oldest first; the attacker does not see them."""
    following: np.ndarray
    """``(N,)``: the first item of the session; 0 where it is no candidate."""

    @property
    def num_items(self) -> int:
        """I."""
        return self.prior.shape[1]

    @property
    def step(self) -> np.ndarray:
        """``(N,)``: how many requests of the same user came before."""
        first = np.searchsorted(self.owner, np.arange(len(self.known)))
        return np.arange(len(self.owner)) - first[self.owner]

    @property
    def last(self) -> np.ndarray:
        """Rows of the last request of each user that made one."""
        return np.flatnonzero(np.append(self.owner[1:] != self.owner[:-1], True)) if len(self.owner) else self.owner

    def seen(self, owners: np.ndarray) -> torch.Tensor:
        """``(len(owners), I)`` bool: which items each history holds."""
        out = torch.zeros(len(owners), self.num_items, dtype=torch.bool)
        for row, one in enumerate(owners.tolist()):
            out[row, torch.from_numpy(self.known[one].astype(np.int64) - 1)] = True
        return out

    def secret(self, row: int, most: int | None = None) -> np.ndarray:
        """The items that the ``most`` latest live interactions before a request hold (all: None) and the history does
        not."""
        live = self.live[row] if most is None else self.live[row][-most:]
        return np.setdiff1d(live, self.known[self.owner[row]])


@dataclass(frozen=True)
class Knowledge:
    """A finished run as its cloud knows it."""

    path: Path
    config: Config
    interactions: Interactions
    streams: Streams
    training: TrainingSet
    uploads: pd.DataFrame
    actions: dict[str, str]
    data_dir: Path | None = None
    """Where raw data files are looked for first."""

    @property
    def form(self) -> UploadForm:
        """In which form devices sent their latent interests."""
        return self.config.upload_form

    @property
    def popular(self) -> np.ndarray:
        """``(I,)``: how often the histories hold each item."""
        return np.bincount(self.training.items, minlength=self.training.num_items + 1)[1:]

    def installed(self, method: str, seed: int) -> Installed:
        """The extractors of a method as they were shipped; raises :class:`UserError` if they are not in the folder."""
        file = self.path / "models" / f"{method}-{seed}.safetensors"
        if not file.is_file():
            raise UserError(f"{file} is missing; python -m sim.train with the options of the run writes it again")
        check_model(file, method=method, seed=seed)
        return load_device(file)

    def static(self, seed: int) -> Installed | None:
        """DeviceRec's network, if the run holds it."""
        file = self.path / "models" / f"devicerec-{seed}.safetensors"
        return load_device(file) if file.is_file() else None


def open_run(folder: Path, data_dir: Path | None = None) -> Knowledge:
    """Read a finished run that kept its uploads; raises :class:`UserError` for any other."""
    options = of_one_model(finished_options(folder), folder)
    run = RunFolder(folder)
    uploads = run.uploads()
    run.check_world()
    config = _config(options)
    interactions = data.load(config.dataset, data_dir, columns=config.columns, ties=config.ties, seed=config.seed)
    names = [
        field.name for field in fields(Streams) if field.name != "types"
    ]  # of a generated user, which no device knows
    streams = Streams(**sealed.map_arrays(run.world, names, WORLD_FIX))
    instant = split_instant(interactions) if config.split == "time" else None
    training = training_set(interactions, streams, config, instant)
    actions = read_config(folder, "actions")["actions"]
    return Knowledge(folder, config, interactions, streams, training, uploads, actions, data_dir)


def _config(options: dict[str, Any]) -> Config:
    given = {key: value for key, value in options.items() if key != "identity"}
    return Config.from_flat(given | {"methods": ",".join(options["methods"])})


def codes(paths: np.ndarray, latents: np.ndarray) -> np.ndarray:
    """Numbers ``(N, L + 64)`` of requests with ``paths`` ``(N, L)`` bool; a latent interest that was not sent is 0."""
    return np.concatenate([2.0 * paths - 1.0, np.nan_to_num(latents)], axis=1).astype(np.float32)


def log_prior(reference: Reference, known: list[np.ndarray]) -> np.ndarray:
    """Logarithm of each item's share of the scores after each history, ``(K, I)`` float32."""
    past = seen_before(known, np.array([len(one) for one in known]))
    found = []
    for some in torch.arange(len(known)).split(256):
        scores = reference.scores(past[some]).clamp(min=0)
        shares = scores / scores.sum(1, keepdim=True).clamp(min=1e-12)
        found.append(torch.log(shares + SMALLEST).numpy())
    return np.concatenate(found)


def counts(training: TrainingSet, config: Config) -> Reference:
    """Co-occurrence counts of these histories."""
    return fit_cooccurrence(training, config.resolved_candidates).reference
