"""What is measured: our methods, each with the training step that training itself takes, and what a step multiplies."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import torch
from torch import nn

from core.errors import UserError
from core.seeds import torch_generator
from models.backbones.base import DIM, Backbone
from models.checkpoint import Sizes, save_model
from models.cloud_models import AdaptiveModel, StaticModel
from models.hypernetwork import RANK, AnyMapper, LowRankMapper
from models.shared.plain import Network
from strategies.registry import METHODS
from strategies.training.data import TrainingSet
from strategies.training.learner import Learner, Recipe
from strategies.training.step import Stepper
from strategies.training.windows import Batch, WindowCutter

TRAINING = 3
"""A training step multiplies three times what its forward pass does: backward, each product has two gradients."""


@dataclass(frozen=True)
class Work:
    """What one training step did."""

    targets: int
    macs: int
    """Multiply-accumulates that it takes, however it is written."""


class Contender(Protocol):
    """Something that trains step by step."""

    title: str

    def working(self) -> AbstractContextManager[None]:
        """What has to be entered for the steps of a measurement."""
        ...

    def step(self) -> Work:
        """Train on the next batch."""
        ...


def untrained(learner: Learner, sizes: Sizes, generator: torch.Generator, folder: Path) -> nn.Module:
    """The model at the beginning of its training, its teachers untrained too: what they know costs no time."""
    if learner.teacher is not None:
        path = folder / learner.teacher
        save_model(path, untrained(METHODS[learner.teacher].learner(), sizes, generator, folder), sizes, {})
        learner.teach(path)
    return learner.build(sizes.build(generator), generator)


class Ours:
    """One of our methods, untrained, on batches of all epochs one after the other."""

    def __init__(self, method: str, data: TrainingSet, sizes: Sizes, recipe: Recipe, seed: int) -> None:
        strategy, generator = METHODS[method], torch_generator(seed, "weights", method)
        self.title = strategy.title
        self.learner = strategy.learner()
        self.recipe = self.learner.adjust(recipe)
        with TemporaryDirectory() as folder:
            self.model = untrained(self.learner, sizes, generator, Path(folder)).train()
        if not countable(self.model):
            raise UserError(
                f"--methods: the benchmark does not count what a training step of '{method}' multiplies; "
                "it does for DeviceRec, DUET, Forward-OFA, their + variants and the ablations"
            )
        self.take = Stepper(self.learner, self.model, self.recipe)
        self.take.seed(seed, 0)
        self.batches = endless(data, sizes.context, self.recipe, seed)

    def working(self) -> AbstractContextManager[None]:
        return self.take.working()

    def step(self) -> Work:
        batch = next(self.batches)
        _, targets = self.take(batch)
        return Work(targets, TRAINING * forward_macs(self.model, batch, self.learner.networks))


def endless(data: TrainingSet, context: int, recipe: Recipe, seed: int) -> Iterator[Batch]:
    """The batches of epoch 1, 2, 3 and so on."""
    cutter = WindowCutter(
        data, context=context, history_length=recipe.memory, targets=recipe.targets, batch=recipe.batch, seed=seed
    )
    for epoch in count(1):
        yield from cutter.batches(epoch)


def countable(model: nn.Module) -> bool:
    """Whether :func:`forward_macs` knows all that ``model`` multiplies."""
    plain = type(model) is StaticModel and type(model.network) is Network
    return plain or isinstance(model, AdaptiveModel)


def forward_macs(model: nn.Module, batch: Batch, networks: int = 1) -> int:
    """Multiply-accumulates that the loss of ``batch`` takes: all blocks, the extractors, the mapper, the scores.

    Only what has to be: scores for the positions that have a target, extractors for the items there are. Where a window
    goes through several ``networks``, everything but the choice of blocks is as often.
    """
    assert isinstance(model, StaticModel | AdaptiveModel)
    part, windows = model.device_part, len(batch.windows)
    context, backbone = batch.windows.shape[1], part.backbone
    interest = 0 if part.interest is None else 6 * DIM * DIM * int(batch.lengths.sum())
    choice = sum(part.request_macs(items) for items in batch.lengths.tolist()) - interest
    each = interest + windows * backbone.blocks * backbone.block_macs(context)
    each += int((batch.targets > 0).sum()) * backbone.num_items * DIM
    if isinstance(model, AdaptiveModel):
        each += windows * mapper_macs(model.mapper, backbone, context)
    return choice + networks * each


def mapper_macs(mapper: AnyMapper, backbone: Backbone, context: int) -> int:
    """One window's share in the mapper: full-rank heads make weights, those of low rank are applied as they are."""
    if not isinstance(mapper, LowRankMapper):
        return mapper.macs(backbone.blocks)
    layer = (context * RANK * (inputs + outputs) + DIM * (RANK + outputs) for inputs, outputs in backbone.shapes)
    return backbone.blocks * sum(layer)
