"""STTD: DeviceRec with every layer decomposed, taught by the full one (Xia et al. 2022).

The original decomposes the item embeddings; the Forward-OFA paper, whose baseline this is, decomposes the layers
(:mod:`models.shared.sttd`). Of the original's loss this keeps cross-entropy and distillation with its weight; its
contrastive and predictive terms recombine hot and cold *items* in the compressed embedding and have no counterpart in a
layer. The student learns from DeviceRec's trained model, and has item embeddings of its own.
"""

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.backbones.base import Backbone
from models.checkpoint import load_device
from models.cloud_models import StaticModel
from models.kernels.softmax_loss import distillation_loss
from models.shared.sttd import FactoredNetwork
from strategies.base import SessionStrategy
from strategies.devicerec import StaticLearner
from strategies.training.learner import Learner, Recipe
from strategies.training.windows import Batch

DISTILLATION = 0.8
"""Weight of KL(teacher || student) beside the cross-entropy, as in the released code."""


class DistilledLearner(StaticLearner):
    """Cross-entropy, and the divergence from what the teacher predicts at the same positions."""

    teacher = "devicerec"

    def teach(self, teacher: Path) -> None:
        self.known = load_device(teacher)

    def build(self, backbone: Backbone, generator: torch.Generator) -> nn.Module:
        return StaticModel(backbone, generator, network=FactoredNetwork)

    def states(
        self, model: nn.Module, batch: Batch, recipe: Recipe, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """As DeviceRec's; in training with the distillation loss."""
        assert isinstance(model, StaticModel)
        states, extra = super().states(model, batch, recipe, generator)
        if model.training:
            bears, _, seen, _ = batch.bearing
            table = model.device_part.backbone.items
            extra = DISTILLATION * distillation_loss(states[bears], table, *self._teacher(batch, bears), seen)
        return states, extra

    @torch.no_grad()
    def _teacher(self, batch: Batch, bears: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's states where there is a target, and its item embeddings."""
        network = self.known.network
        assert network is not None
        backbone = self.known.part.to(batch.windows.device).backbone
        network.to(batch.windows.device)
        states = backbone.encode(batch.windows.unsqueeze(0), lambda k, rows: network[k])[0]
        return states[bears], backbone.items


class STTD(SessionStrategy):
    """Fewer weights, more multiplications: a device builds each layer before it uses it."""

    name: ClassVar[str] = "sttd"
    title: ClassVar[str] = "STTD"
    note: ClassVar[str] = "one network with its layers compressed by a tensor decomposition"
    cloud_model: ClassVar[str] = "sttd"
    single: ClassVar[str] = "its layers are built from factors"

    @classmethod
    def learner(cls) -> Learner:
        return DistilledLearner()
