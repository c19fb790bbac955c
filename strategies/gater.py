"""Gater: DeviceRec's layers, and a small network that switches their units by what the device has just seen.

Chen et al. 2019, on images; here the gating network reads the ``context`` items before the prediction. In training,
where one window bears up to ``context`` targets, it reads the items before the *first* of them, so that no gate knows a
target. The loss adds the mean gate times :data:`PENALTY`, which decides how many units stay on; the paper does not say
its own, and these are ours (one for each backbone, since its units differ in number and in what they cost).
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from models.backbones.base import Backbone
from models.cloud_models import StaticModel
from models.shared.gater import GatedNetwork, newest, semantic_hash
from strategies.base import SessionStrategy
from strategies.devicerec import StaticLearner
from strategies.training.learner import Learner, Recipe
from strategies.training.windows import Batch

PENALTY = {"sasrec": 0.1, "nextitnet": 0.5}
"""Weight of the mean gate in the loss."""


class GatedLearner(StaticLearner):
    """Blocks and gating network, trained together."""

    divisible: ClassVar[bool] = False  # the gating network normalises over the batch and remembers what it saw
    penalty = 0.0

    def configure(self, *, protocol: str, backbone: str, dataset: str) -> dict[str, float]:
        self.penalty = PENALTY[backbone]
        return {"gate_penalty": self.penalty}

    def build(self, backbone: Backbone, generator: torch.Generator) -> nn.Module:
        return StaticModel(backbone, generator, network=GatedNetwork)

    def states(
        self, model: nn.Module, batch: Batch, recipe: Recipe, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Every window has its own gates: hashed in training, decided otherwise."""
        assert isinstance(model, StaticModel)
        part, network = model.device_part, model.network
        assert isinstance(network, GatedNetwork)
        recent, lengths = newest(batch.history, batch.lengths, part.backbone.context)
        logits = network.logits(part.embed_history(recent), lengths)
        if model.training:
            gates = semantic_hash(logits, generator)
            network.used.zero_()
        else:
            gates = (logits > 0).to(logits.dtype)
            # Validation follows every epoch: what it leaves here is what at least one of its windows used.
            network.used |= (gates > 0).any(0).view_as(network.used)
        states = part.backbone.encode(
            batch.windows.unsqueeze(0),
            model.block,
            units=gates.view(1, len(gates), *network.used.shape),
            dropout=recipe.dropout if model.training else 0.0,
        )
        return states[0], self.penalty * gates.mean() if model.training else states.new_zeros(())


class Gater(SessionStrategy):
    """Fewer multiplications, nearly as many weights: a device keeps every unit that some input may need."""

    name: ClassVar[str] = "gater"
    title: ClassVar[str] = "Gater"
    note: ClassVar[str] = "one network whose units are switched off by what the device's input looks like"
    cloud_model: ClassVar[str] = "gater"
    single: ClassVar[str] = "its gating network normalises with stored statistics"

    @classmethod
    def learner(cls) -> Learner:
        return GatedLearner()
