"""What training needs to know of a method, and the recipe that is the same for all of them."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from models.backbones.base import Backbone
from models.candidates import Candidates
from strategies.training.data import TrainingSet
from strategies.training.windows import Batch


@dataclass(frozen=True)
class Recipe:
    """How to train; the same for every method that is compared."""

    learning_rate: float = 5e-3
    dropout: float = 0.2
    batch: int = 128
    """Most windows a step (with the default context, ten targets each); a small data set gets smaller batches."""
    max_epochs: int = 60
    patience: int = 6
    """Epochs without a better validation NDCG@10, see :func:`strategies.training.loop.smoothed_ndcg`, that end
    training; 0: ``max_epochs`` epochs, no selection."""
    warmup_epochs: int = 9
    """Warm-up epochs that do not count towards ``patience``: a model that starts from another one's weights gets worse
    before it gets better."""
    averaged: float = 1.0
    """Epochs over which the weights are averaged for validation and deployment (:mod:`strategies.training.ema`); 0: the
    weights after the last step."""
    penalty: float = 0.001
    """The paper's lambda, the weight of the compact constraint (equation 12)."""
    temperature: float = 5.0
    """The paper's tau of the Gumbel-softmax gates (equation 4)."""
    targets: str = "session"
    """``session`` or ``last``, see :mod:`strategies.training.windows`."""
    candidates: Candidates = "all"
    """What the loss and validation choose from: the candidates that a device will have."""
    spread: float = 0.3
    """The share of each target that is spread over what often follows (:mod:`strategies.training.followers`)."""
    memory: int = 50
    """Items that the extractors read."""

    def ends(self, best: int, search: int = 0) -> int:
        """The epoch that is the last if none is better than epoch ``best``; see :meth:`Learner.search_epochs`."""
        most = search + self.max_epochs
        return most if self.patience == 0 else min(most, max(best, search + self.warmup_epochs) + self.patience)


class Learner:
    """What training needs to know of a method; every strategy names one."""

    teacher: str | None = None
    """The method whose trained model this one learns from; it is trained first."""
    divisible: ClassVar[bool] = True
    """Whether a step may look at the windows of a batch in two halves (:mod:`strategies.training.step`)."""
    networks: int = 1
    """Through how many networks each window goes in training."""

    continues: bool = False
    """Whether the training goes on from the weights of an earlier one, which has searched already."""

    groups: np.ndarray | None = None
    """``(U,)``: which users are alike, as :meth:`study` found; a target is spread over what follows among them."""
    spread: float | None = None
    """In place of the recipe's share of a target that is spread, where :attr:`groups` were found."""

    counts: ClassVar[bool] = False
    """Whether the model is counted from the histories (:meth:`count`) and not trained."""

    def configure(self, *, protocol: str, backbone: str, dataset: str) -> dict[str, float]:
        """Take the method's own hyperparameters from the presets; what they are belongs to the model's identity."""
        return {}

    def adjust(self, recipe: Recipe, given: Collection[str] = ()) -> Recipe:
        """The method's own changes to the recipe; they belong to the model's identity. ``given`` names the fields that
        the options ask for."""
        return recipe

    def teach(self, teacher: Path) -> None:
        """Read what is needed of the trained model of :attr:`teacher`."""
        raise TypeError(f"{type(self).__name__} learns from no other model")

    def search_epochs(self, recipe: Recipe) -> int:
        """Epochs before the ones of the recipe, in which the method searches and no epoch's model is kept."""
        return 0

    def study(self, data: TrainingSet, seed: int) -> None:
        """Take from the histories what teaches beside the targets, before the model is built."""

    def follow(self, parent: Mapping[str, Tensor]) -> None:
        """Take from the weights of the version before what decides the shapes of a later one."""

    def before_epoch(self, epoch: int, recipe: Recipe) -> None:
        """Take note of the epoch that begins (the first is 1), also when a training continues."""

    def before_step(self, model: nn.Module) -> None:
        """Change the model before a step looks at it; its states may be asked for by several threads at once."""

    def after_epoch(self, model: nn.Module, epoch: int, recipe: Recipe) -> None:
        """Change the model at the end of an epoch (the first is 1), before it is validated."""

    @contextmanager
    def deployed(self, model: nn.Module, batches: Iterable[Batch]) -> Iterator[None]:
        """Inside, ``model`` is what devices get: so it is validated and kept. ``batches``: all users' histories."""
        yield

    def build(self, backbone: Backbone, generator: torch.Generator) -> nn.Module:
        """The untrained cloud model around a fresh backbone."""
        raise TypeError(f"{type(self).__name__} trains no model of its own")

    def count(self, model: nn.Module, data: TrainingSet, recipe: Recipe) -> dict[str, float]:
        """Fill a model that is counted; returns what validation chose, by name."""
        raise TypeError(f"{type(self).__name__} counts no model")

    def states(
        self, model: nn.Module, batch: Batch, recipe: Recipe, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Final states ``(B, n, d)`` of a batch, and what is added to the loss (a scalar).

        ``model.training`` says whether gates are sampled and dropout is on.
        """
        raise TypeError(f"{type(self).__name__} trains no model of its own")
