"""Installed networks that each device specialises by what the cloud sends it: bits in place of weights.

Such a network is on every device. The cloud's mapper makes one *choice* a block for a device with its latent interest:
an array of bytes, which alone is sent. The device makes its block's weights of the installed network and the choice.
"""

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
from torch import Tensor

from models.backbones.base import Backbone
from models.shared.plain import Footprint, Network


class SpecialisedNetwork(Network):
    """A network that nobody runs as it is installed."""

    choice_bytes: int
    """Bytes of the choice of one block; every value of every byte means something."""

    @abstractmethod
    def specialise(self, k: int, choices: Tensor) -> Tensor:
        """Weights of block ``k`` ``(D, block_size)`` from the choices ``(D, choice_bytes)`` uint8 of ``D`` devices."""

    @abstractmethod
    def specialised_footprint(
        self, backbone: Backbone, context: int, path: np.ndarray, choices: Mapping[int, np.ndarray]
    ) -> Footprint:
        """What one inference takes a device with the ``choices`` of the blocks in its ``path`` ``(L,)`` bool."""

    @abstractmethod
    def least(self, backbone: Backbone, context: int, path: np.ndarray) -> Footprint:
        """The least that it takes with any choices; the most is :meth:`footprint`."""
