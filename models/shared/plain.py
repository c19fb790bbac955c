"""Networks that all devices share: what is installed on a device besides the backbone's common part.

A network knows how to give the weights of a block, how many numbers it takes to store them, and what using them costs
beside the block itself. Compressed networks (STTD, Rare Gem, Gater) are subclasses; the plain one stores every weight.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from models.arithmetic import stored_bits
from models.backbones.base import DIM, Backbone

if TYPE_CHECKING:
    from models.device_part import DevicePart


@dataclass(frozen=True)
class Footprint:
    """What one inference takes on a device."""

    macs: int
    """Multiply-accumulates of all that is multiplied."""
    macs_paper: int
    """As the paper counts."""
    weights: int
    """Numbers that the network consists of, without item embeddings and positions."""
    biases: int = 0
    """Of them, those that are no factors of a matrix product."""
    channels: int = 0
    """Output channels of its matrices."""
    chosen: int = 0
    """Bits that it takes beside these numbers, whatever the device computes in."""

    def bits(self, bits: int = 32) -> int:
        """What the network takes on a device that computes in ``bits`` (:mod:`models.arithmetic`)."""
        return stored_bits(bits, self.weights, self.biases, self.channels) + self.chosen


def footprint(backbone: Backbone, context: int, path: np.ndarray) -> Footprint:
    """Of a network that stores all weights of the blocks in ``path`` ``(L,)`` bool, and of no others."""
    run = int(path.sum())
    static, channels = backbone.blocks * backbone.static_block_weights(), run * backbone.linears * DIM
    macs, macs_paper = backbone.inference_macs(context, run), backbone.paper_macs(context, run)
    return Footprint(macs, macs_paper, run * backbone.block_size + static, channels + static, channels)


def static_bits(backbone: Backbone, bits: int) -> int:
    """Bits of the weights of all blocks that are not generated: norms, which no product has as a factor."""
    static = backbone.blocks * backbone.static_block_weights()
    return stored_bits(bits, static, static, 0)


class Network(nn.ParameterList):
    """The weights of ``L`` blocks, each stored as ``(block_size,)``.

    ``network[k]`` are the weights of block ``k`` as the backbone takes them, ``(1, block_size)``.
    """

    kind = "plain"
    """Names the class in a model's file."""

    def __init__(self, backbone: Backbone, generator: torch.Generator) -> None:
        super().__init__(backbone.initial_blocks(generator))

    def __getitem__(self, k: int) -> Tensor:  # type: ignore[override]
        return self.stored(k).unsqueeze(0)

    def stored(self, k: int) -> Tensor:
        """What is kept of block ``k``."""
        value: Tensor = getattr(self, str(k))
        return value

    def units(self, part: "DevicePart", windows: Tensor) -> Tensor | None:
        """Which units of the blocks are on for each window ``(D, R, n)``; None: all of them, always."""
        return None

    def footprint(self, backbone: Backbone, context: int, path: np.ndarray, units: Tensor | None = None) -> Footprint:
        """What one inference takes that runs the blocks in ``path`` ``(L,)`` bool.

        ``units`` is what :meth:`units` gave for the device's inferences ``(E, ...)``; None: not known yet.
        """
        return footprint(backbone, context, path)

    def installed_bits(self, backbone: Backbone, bits: int) -> int:
        """Bits of what is installed of it on a device that computes in ``bits``, without what the shared part has."""
        everything = np.ones(backbone.blocks, dtype=bool)
        return self.footprint(backbone, backbone.context, everything).bits(bits) - static_bits(backbone, bits)
