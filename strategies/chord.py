"""CHORD's idea: one network on all devices, and the bits of each of its channels for each device (Liu et al., 2025).

From the paper: mixed precision by channels, chosen by hypernetworks in the cloud from what a device says of its
interests; two bits a channel come down; the device quantises by itself and trains nothing.

Not from the paper: the extractor runs on the device, which sends its latent interest. The network is a trained one
(DeviceRec's, trained further with its channels on their grids), not a random one. One head a block gives each channel's
logits directly, in place of the paper's sensitivities of layers, filters and elements. The choices are 2, 4, 6 and 8
bits, and the loss adds :data:`PRICE` for each bit by which the mean of the drawn ones exceeds :data:`MEAN_BITS`; those
that are decided for a device are fewer in the mean. Activations are in the
precision of the device. A product with a weight of fewer than 8 bits costs what the device's products cost: there is no
public figure for those. A device that multiplies in 8 bits puts weights of 4 and 6 bits on its own grid first, which
moves a weight by at most half a step of that.
"""

from collections.abc import Collection
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.backbones.base import Backbone
from models.checkpoint import load_device
from models.cloud_models import SpecialisedModel
from models.delivery import How
from models.shared.mixed import CHOICES, PrecisionMapper
from strategies.adaptive import AdaptiveStrategy
from strategies.diet import noisy_latent
from strategies.forward_ofa_plus import HISTORY_DROPOUT, INTEREST_DROPOUT, gently
from strategies.training.learner import Learner, Recipe
from strategies.training.windows import Batch

MEAN_BITS = 4.0
"""Of a weight, over all channels and devices: half of what 8-bit networks take."""
PRICE = 0.1
"""Loss for each bit above that in the mean."""
TEMPERATURE = 1.0
"""Of the softmax that gives the choices their gradient."""


class PrecisionLearner(Learner):
    """Extractor, heads and the network, which learns under its own grids."""

    teacher = "devicerec"

    def configure(self, *, protocol: str, backbone: str, dataset: str) -> dict[str, float]:
        """The constants above, and dropout as DUET+'s."""
        own = {"history_dropout": HISTORY_DROPOUT, "interest_dropout": INTEREST_DROPOUT, "mean_bits": MEAN_BITS}
        return own | {"price": PRICE, "temperature": TEMPERATURE} | {f"choice{i}": b for i, b in enumerate(CHOICES)}

    def adjust(self, recipe: Recipe, given: Collection[str] = ()) -> Recipe:
        """Half the learning rate and half the patience, as most is trained."""
        return gently(recipe)

    def teach(self, teacher: Path) -> None:
        self.known = load_device(teacher)

    def build(self, backbone: Backbone, generator: torch.Generator) -> nn.Module:
        """Build it around DeviceRec's backbone and network."""
        model = SpecialisedModel(backbone, generator, mapper=PrecisionMapper)
        network = self.known.network
        assert network is not None
        model.device_part.backbone.load_state_dict(self.known.part.backbone.state_dict())
        with torch.no_grad():
            for k in range(backbone.blocks):
                model.network.stored(k).copy_(network.stored(k))
        return model

    def states(
        self, model: nn.Module, batch: Batch, recipe: Recipe, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Every window has its own bits, a device of its own: drawn in training, decided otherwise."""
        assert isinstance(model, SpecialisedModel)
        mapper = model.mapper
        assert isinstance(mapper, PrecisionMapper)
        backbone, latent = model.device_part.backbone, noisy_latent(model, batch, generator)
        noise = generator if model.training else None
        gates = [mapper.gates(k, latent, noise, TEMPERATURE) for k in range(backbone.blocks)]
        states = backbone.encode(
            batch.windows.unsqueeze(1),
            lambda k, rows: mapper.applied(k, gates[k]),
            dropout=recipe.dropout if model.training else 0.0,
        )
        if not model.training:
            return states[:, 0], states.new_zeros(())
        bits = torch.stack([gate.mean((0, 2)) for gate in gates]).mean(0) @ gates[0].new_tensor(CHOICES)
        return states[:, 0], PRICE * (bits - MEAN_BITS).clamp(min=0)


class Chord(AdaptiveStrategy):
    """What comes down says how coarse each channel is."""

    name: ClassVar[str] = "chord"
    title: ClassVar[str] = "CHORD"
    note: ClassVar[str] = "one network on all devices; the cloud chooses the bits of each channel for each device"
    cloud_model: ClassVar[str] = "chord"
    deliveries: ClassVar[tuple[How, ...]] = ("weights",)

    @classmethod
    def learner(cls) -> Learner:
        return PrecisionLearner()
