"""Rare Gem: a sparse network found by scores on frozen random weights, then trained (Sreenivasan et al. 2022).

The search lasts as many epochs as the recipe trains at most, and no more than :data:`SEARCH`; every fifth epoch it
removes the same share of the weights that are left. The epochs of the recipe, with its early stopping, follow for the
weights that survive (the paper grants Rare Gem its "sparse network retraining" beside the epochs of all). Item
embeddings and whatever else all devices share are trained in both. Adam with the recipe's learning rate moves scores
and weights; the original has SGD.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from models.backbones.base import Backbone
from models.shared.rare_gem import RareGemModel
from strategies.base import SessionStrategy
from strategies.devicerec import StaticLearner
from strategies.training.learner import Learner, Recipe
from strategies.training.presets import rare_gem_kept
from strategies.training.windows import Batch

SEARCH = 20
"""Most epochs of search."""
EVERY = 5
"""Epochs from one pruning to the next."""
SCORE_DECAY = 1e-4
"""Weight of the squared scores in the loss, as in the released code."""


class RareGemLearner(StaticLearner):
    """Scores first, weights afterwards."""

    kept = 1.0
    """Share of all weights of the network that survive."""

    def configure(self, *, protocol: str, backbone: str, dataset: str) -> dict[str, float]:
        self.kept = rare_gem_kept(protocol=protocol, backbone=backbone, dataset=dataset)
        return {"kept": self.kept}

    def build(self, backbone: Backbone, generator: torch.Generator) -> nn.Module:
        return RareGemModel(backbone, generator)

    def search_epochs(self, recipe: Recipe) -> int:
        """The original's number of epochs serves both phases; so does ours, up to :data:`SEARCH`."""
        return min(recipe.max_epochs, SEARCH)

    def states(
        self, model: nn.Module, batch: Batch, recipe: Recipe, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """As DeviceRec's; while it searches, with a penalty on the scores."""
        assert isinstance(model, RareGemModel)
        searches = model.training and bool(model.searching)
        states, extra = super().states(model, batch, recipe, generator)
        return states, SCORE_DECAY * model.decay() if searches else extra

    def before_step(self, model: nn.Module) -> None:
        """Scores stay between 0 and 1."""
        assert isinstance(model, RareGemModel)
        if model.searching:
            model.clamp()

    def after_epoch(self, model: nn.Module, epoch: int, recipe: Recipe) -> None:
        """Prune on schedule; at the end of the search hand over to training."""
        assert isinstance(model, RareGemModel)
        search = self.search_epochs(recipe)
        due = prunings(search)
        if epoch in due:
            share = self.kept ** ((due.index(epoch) + 1) / len(due))
            model.clamp()
            model.prune(round(share * model.total))
        if epoch == search:
            model.settle()


def prunings(search: int) -> list[int]:
    """The epochs after which is pruned: every fifth, with one epoch of search left after the last; at least once."""
    return [EVERY * (i + 1) for i in range((search - 1) // EVERY)] or [search]


class RareGem(SessionStrategy):
    """Fewer weights, as many multiplications."""

    name: ClassVar[str] = "rare-gem"
    title: ClassVar[str] = "Rare Gem"
    note: ClassVar[str] = "one network of which training keeps few weights"
    cloud_model: ClassVar[str] = "rare-gem"

    @classmethod
    def learner(cls) -> Learner:
        return RareGemLearner()
