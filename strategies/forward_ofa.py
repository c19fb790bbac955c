"""Forward-OFA: structure and weights of each device's network, in one forward pass (Fu et al., KDD 2025)."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from models.backbones.base import Backbone
from models.cloud_models import AdaptiveModel
from models.device_part import Structure
from models.hypernetwork import block_weights
from strategies.adaptive import AdaptiveStrategy
from strategies.gates import gate
from strategies.training.learner import Learner, Recipe
from strategies.training.windows import Batch


class AdaptiveLearner(Learner):
    """Extractors, mapper and (for Forward-OFA) controller, trained together (equation 12)."""

    def __init__(self, *, controller: bool, structure: Structure = "logits") -> None:
        """``structure`` is what the latent interest starts from."""
        self.controller, self.structure = controller, structure

    def build(self, backbone: Backbone, generator: torch.Generator) -> nn.Module:
        return AdaptiveModel(backbone, generator, controller=self.controller, structure=self.structure)

    def states(
        self, model: nn.Module, batch: Batch, recipe: Recipe, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Every window has its own network, a device of its own: gates sampled in training, decided otherwise."""
        assert isinstance(model, AdaptiveModel)
        part = model.device_part
        embedded = part.embed_history(batch.history)
        logits = None if part.controller is None else part.controller(embedded, batch.lengths)
        gating = gate(logits, recipe, generator if model.training else None)
        latent = part.latent(embedded, batch.lengths, logits)
        states = part.backbone.encode(
            batch.windows.unsqueeze(1),
            block_weights(model.mapper.applied, latent),
            keep=gating.keep,
            gates=gating.gates,
            dropout=recipe.dropout if model.training else 0.0,
        )
        return states[:, 0], gating.penalty


class ForwardOFA(AdaptiveStrategy):
    """The device sends its path and its latent interest; the cloud answers with the blocks of that path."""

    name: ClassVar[str] = "forward-ofa"
    title: ClassVar[str] = "Forward-OFA"
    note: ClassVar[str] = "each device chooses its blocks, the cloud makes their weights in one forward pass"
    cloud_model: ClassVar[str] = "forward-ofa"

    @classmethod
    def learner(cls) -> Learner:
        return AdaptiveLearner(controller=True)
