"""DIET: one frozen random network on all devices, and a binary mask for each (Fu et al., WWW 2024).

From the paper: the network on the devices is never trained; an extractor reads a device's recent interactions, a
hypernetwork in the cloud turns what it says into a mask, and the mask is all that is sent, one bit a weight.

Not from the paper: here the extractor runs on the device, which sends its latent interest and no interactions, as all
methods here do. The random weights are signs of one size (:mod:`models.shared.masked`), so that the network is
installed as a seed. The hypernetwork is of low rank, as DUET+'s: full-rank heads overfit the histories. What all
devices share besides, item embeddings and positions, is trained. The paper's correction of masks by the importance of
whole filters, and DIETING, which uses one layer's weights for all, are left out: all blocks run, and no product is
saved.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from models.backbones.base import Backbone
from models.cloud_models import SpecialisedModel
from models.delivery import How
from models.hypernetwork import RANK, block_weights
from models.kernels.dropout import dropout
from models.shared.masked import MaskMapper
from strategies.adaptive import AdaptiveStrategy
from strategies.forward_ofa_plus import HISTORY_DROPOUT, INTEREST_DROPOUT
from strategies.training.learner import Learner, Recipe
from strategies.training.windows import Batch


class MaskLearner(Learner):
    """Extractor, scores and what all devices share; the network itself is frozen."""

    def configure(self, *, protocol: str, backbone: str, dataset: str) -> dict[str, float]:
        """Dropout as DUET+'s, for the same reason."""
        return {"history_dropout": HISTORY_DROPOUT, "interest_dropout": INTEREST_DROPOUT, "rank": RANK}

    def build(self, backbone: Backbone, generator: torch.Generator) -> nn.Module:
        return SpecialisedModel(backbone, generator, mapper=MaskMapper)

    def states(
        self, model: nn.Module, batch: Batch, recipe: Recipe, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Every window has its own mask, a device of its own; a score's gradient goes straight through."""
        assert isinstance(model, SpecialisedModel)
        assert isinstance(model.mapper, MaskMapper)
        part = model.device_part
        latent = noisy_latent(model, batch, generator)
        states = part.backbone.encode(
            batch.windows.unsqueeze(1),
            block_weights(model.mapper.applied, latent),
            dropout=recipe.dropout if model.training else 0.0,
        )
        return states[:, 0], states.new_zeros(())


def noisy_latent(model: SpecialisedModel, batch: Batch, generator: torch.Generator) -> Tensor:
    """Latent interest of each window ``(B, 64)``; in training with dropout of items and of its own numbers."""
    part, history = model.device_part, batch.history
    if model.training:
        history = history.masked_fill(batch.lost(HISTORY_DROPOUT, generator), 0)
    latent = part.latent(part.embed_history(history), batch.lengths, None)
    return dropout(latent, INTEREST_DROPOUT, model.training)


class Diet(AdaptiveStrategy):
    """What comes down is a mask."""

    name: ClassVar[str] = "diet"
    title: ClassVar[str] = "DIET"
    note: ClassVar[str] = "one random network on all devices; the cloud sends each device a mask, one bit a weight"
    cloud_model: ClassVar[str] = "diet"
    deliveries: ClassVar[tuple[How, ...]] = ("weights",)

    @classmethod
    def learner(cls) -> Learner:
        return MaskLearner()
