"""What the cloud trains: one network for everybody, or a network for each device."""

import torch
from torch import Tensor, nn

from models.backbones.base import Backbone
from models.device_part import DevicePart, Structure
from models.hypernetwork import AnyMapper, Mapper
from models.shared.masked import MaskMapper
from models.shared.mixed import PrecisionMapper
from models.shared.plain import Network


class StaticModel(nn.Module):
    """One network for everybody, all of its blocks or (with a controller) a path that each device chooses."""

    def __init__(
        self,
        backbone: Backbone,
        generator: torch.Generator,
        *,
        controller: bool = False,
        network: type[Network] = Network,
    ) -> None:
        super().__init__()
        self.device_part = DevicePart(backbone, controller=controller, interest=False)
        self.network = network(backbone, generator)

    def block(self, k: int, rows: Tensor | None = None) -> Tensor:
        """Weights of block ``k``, ``(1, block_size)``, the same for all devices."""
        return self.network[k]


class AdaptiveModel(nn.Module):
    """A network for each device: extractors on the device, mapper in the cloud; with or without a controller."""

    def __init__(
        self,
        backbone: Backbone,
        generator: torch.Generator,
        *,
        controller: bool,
        structure: Structure = "logits",
        mapper: type[AnyMapper] = Mapper,
        pairs: bool = False,
    ) -> None:
        super().__init__()
        self.device_part = DevicePart(backbone, controller=controller, interest=True, structure=structure, pairs=pairs)
        self.mapper = mapper(backbone, generator)


Chooser = MaskMapper | PrecisionMapper
"""Mappers that choose something for the network that is installed on devices, in place of making weights."""


class SpecialisedModel(AdaptiveModel):
    """The same where devices have the ``network`` that their weights are made of: the mapper's own."""

    mapper: Chooser

    def __init__(self, backbone: Backbone, generator: torch.Generator, *, mapper: type[Chooser]) -> None:
        super().__init__(backbone, generator, controller=False, mapper=mapper)
        self.network = self.mapper.network
