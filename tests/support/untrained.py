"""Cloud models without training: as fresh as they are built, so that their rows depend on no order of additions.

A training of two epochs multiplies what a sum rounds differently on another machine; a fresh model does not. Whatever
the project does with a trained model (teachers, pruning, the share of the blocks, keys, links) is done with it too.
"""

from pathlib import Path

import pytest
import torch
from torch import nn

from sim import model_cache
from strategies.training.data import TrainingSet
from strategies.training.learner import Learner, Recipe
from strategies.training.loop import EpochRecord, Trained, popularity_ranks
from strategies.training.windows import WindowCutter

SCALE = 4.0
"""Fresh weights are small: so that devices differ in what their networks choose and recommend, all are multiplied."""
LOGITS = 0.4
"""The controller's biases go from this to its negative: a fresh one keeps all blocks or none."""


def train(
    learner: Learner,
    model: nn.Module,
    data: TrainingSet,
    recipe: Recipe,
    *,
    context: int,
    seed: int,
    checkpoint: Path,
    **rest: object,
) -> Trained:
    """Stand in for :func:`strategies.training.loop.train`: scale the weights, do what a learner does between epochs.

    ``rest`` are the arguments of the real one that only a training needs.
    """
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    part = model.device_part
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(SCALE)
        if part.controller is not None:  # type: ignore[union-attr]
            bias = part.controller.head.bias  # type: ignore[union-attr]
            bias.copy_(torch.linspace(LOGITS, -LOGITS, len(bias)))
    for epoch in range(1, learner.search_epochs(recipe) + 1):
        learner.before_epoch(epoch, recipe)
        learner.after_epoch(model, epoch, recipe)
    model.eval()
    sizes = {"context": context, "history_length": recipe.memory, "batch": 64}
    cutter = WindowCutter(data, **sizes, targets=recipe.targets, seed=seed)  # type: ignore[arg-type]
    batches = [batch for batch, _ in cutter.validation(64)]
    with learner.deployed(model, batches), torch.no_grad():
        for batch in batches:
            learner.states(model, batch, recipe, torch.Generator())
        state = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(state)
    part.popularity.copy_(popularity_ranks(data))  # type: ignore[union-attr, operator]
    return Trained([EpochRecord(1, 0.0, 0.0, 0.0, 0.0)], best_epoch=1)


def install(patch: pytest.MonkeyPatch) -> None:
    """Runs deploy fresh models."""
    patch.setattr(model_cache, "train", train)
