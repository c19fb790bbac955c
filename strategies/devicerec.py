"""DeviceRec: one network trained in the cloud, sent to every device, and never updated."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from models.backbones.base import Backbone
from models.cloud_models import StaticModel
from strategies.base import SessionStrategy
from strategies.training.learner import Learner, Recipe
from strategies.training.windows import Batch


class StaticLearner(Learner):
    """One set of block weights for everybody."""

    def build(self, backbone: Backbone, generator: torch.Generator) -> nn.Module:
        return StaticModel(backbone, generator)

    def states(
        self, model: nn.Module, batch: Batch, recipe: Recipe, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """All windows of the batch as one device's, since they share their weights."""
        assert isinstance(model, StaticModel)
        states = model.device_part.backbone.encode(
            batch.windows.unsqueeze(0), model.block, dropout=recipe.dropout if model.training else 0.0
        )
        return states[0], states.new_zeros(())


class DeviceRec(SessionStrategy):
    """The base model of the paper's Table 1."""

    name: ClassVar[str] = "devicerec"
    title: ClassVar[str] = "DeviceRec"
    note: ClassVar[str] = "one network for all devices, trained in the cloud, never adapted"
    cloud_model: ClassVar[str] = "devicerec"

    @classmethod
    def learner(cls) -> Learner:
        return StaticLearner()
