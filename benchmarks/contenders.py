"""What is measured: our methods, each with the training step that training itself takes, and RecBole's SASRec."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
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
from models.backbones.sasrec import HEADS
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

RECBOLE_BATCH = 2_048
"""Targets a step, RecBole's own default (``train_batch_size``)."""

RECBOLE_MISSING = (
    "RecBole is not installed, so nothing is compared with it: pip install -e '.[benchmark]' && "
    "pip install --no-deps recbole==1.2.1 (benchmarks/README.md says why in two steps)"
)


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


class RecBoleSASRec:
    """RecBole's SASRec of the same size, with its own loss and the optimiser that its trainer makes.

    It trains one target a row: the ``context`` items before it, right-padded, which is what the paper's windows are.
    RecBole 1.2.1 always looks for NaN in every gradient (PyTorch's anomaly detection, switched on when its models are
    imported); ``checked`` says whether this one does.
    """

    def __init__(self, data: TrainingSet, sizes: Sizes, recipe: Recipe, seed: int, *, checked: bool = True) -> None:
        """Raises ``ImportError`` where RecBole is not installed."""
        from recbole.data.interaction import Interaction
        from recbole.model.sequential_recommender.sasrec import SASRec

        torch.autograd.set_detect_anomaly(False)  # importing RecBole switches it on, for everything in this process
        self.checked = checked
        self.title = "RecBole SASRec" if checked else "RecBole unchecked"
        self.interaction = Interaction
        config = {
            "USER_ID_FIELD": "user",
            "ITEM_ID_FIELD": "item",
            "LIST_SUFFIX": "_list",
            "ITEM_LIST_LENGTH_FIELD": "length",
            "NEG_PREFIX": "neg_",
            "MAX_ITEM_LIST_LENGTH": sizes.context,
            "device": torch.device("cpu"),
            "n_layers": sizes.blocks,
            "n_heads": HEADS,
            "hidden_size": DIM,
            "inner_size": DIM,
            "hidden_dropout_prob": recipe.dropout,
            "attn_dropout_prob": 0.0,
            "hidden_act": "relu",
            "layer_norm_eps": 1e-12,
            "initializer_range": 0.02,
            "loss_type": "CE",
        }
        self.model = SASRec(config, _Items(data.num_items + 1)).train()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=recipe.learning_rate)
        rows = Recipe(targets="last", memory=sizes.context, batch=RECBOLE_BATCH)
        self.batches = endless(data, sizes.context, rows, seed)
        self.row_macs = recbole_macs(sizes.blocks, sizes.context, data.num_items)

    def working(self) -> AbstractContextManager[None]:
        return nullcontext()

    def step(self) -> Work:
        batch = next(self.batches)
        rows = self.interaction({"item_list": batch.history, "length": batch.lengths, "item": batch.targets[:, -1]})
        with torch.autograd.set_detect_anomaly(self.checked):
            self.optimizer.zero_grad()
            loss = self.model.calculate_loss(rows)
            loss.backward()
        self.optimizer.step()
        return Work(len(batch.targets), TRAINING * self.row_macs * len(batch.targets))


@dataclass(frozen=True)
class _Items:
    """All that RecBole's model asks of a data set."""

    number: int

    def num(self, field: str) -> int:
        """Items, with the padding."""
        return self.number


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


def recbole_macs(blocks: int, context: int, num_items: int) -> int:
    """Forward, of one row: a block has six linear layers 64 x 64; the padding item is scored too."""
    block = 6 * context * DIM * DIM + 2 * context * context * DIM
    return blocks * block + (num_items + 1) * DIM
