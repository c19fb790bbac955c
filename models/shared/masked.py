"""DIET: one frozen random network on all devices, and a binary mask a device (Fu et al. 2024).

Every weight is a random sign times one number, drawn from a seed that is installed in place of the network. The cloud
has a score for each weight that depends on the device's latent interest; a weight is on where its score is above zero.
The mask is sent, one bit a weight. Signs of one size are the random weights that masks are found for most easily
(Ramanujan et al. 2020); such a network has no biases.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.backbones.base import DIM, Backbone, Layers
from models.hypernetwork import LowRankMapper
from models.kernels.precision import product_type
from models.shared.plain import Footprint, footprint
from models.shared.specialised import SpecialisedNetwork

SEED_BITS = 64
"""What is installed in place of the network."""
STORED = 2
"""Bits that a device keeps of a weight: its sign, and whether it is on."""


class MaskedNetwork(SpecialisedNetwork):
    """Frozen random signs; the seed is all there is to it."""

    kind = "masked"
    seed: Tensor

    def __init__(self, backbone: Backbone, generator: torch.Generator) -> None:
        nn.ParameterList.__init__(self)
        self.register_buffer("seed", torch.randint(2**62, (1,), generator=generator))
        # Twice the variance of Xavier's initialisation, since about half of the weights are on.
        self.size = math.sqrt(2) * math.sqrt(2 / (backbone.inputs + DIM))
        self.matrices = torch.cat(
            [torch.full((size,), place % 2 == 0) for place, size in enumerate(backbone.sizes)]
        )  # of a block's weights, those that are no biases
        self.choice_bytes = int(self.matrices.sum()) // 8

    def stored(self, k: int) -> Tensor:
        """The random weights of block ``k``, ``(block_size,)``."""
        out = torch.zeros(len(self.matrices))
        out[self.matrices] = _signs(int(self.seed), k, 8 * self.choice_bytes) * self.size
        return out

    def specialise(self, k: int, choices: Tensor) -> Tensor:
        bits = (choices.unsqueeze(-1) >> torch.arange(8, dtype=torch.uint8)) & 1
        out = torch.zeros(len(choices), len(self.matrices))
        out[:, self.matrices] = bits.flatten(1).float()
        return out * self.stored(k)

    def packed(self, on: Tensor) -> Tensor:
        """Masks ``(D, block_size)`` bool as choices ``(D, choice_bytes)``: bit ``i`` of byte ``j`` is that of
        weight ``8 j + i`` of the matrices."""
        bits = on[:, self.matrices].view(len(on), -1, 8).to(torch.uint8)
        return (bits << torch.arange(8, dtype=torch.uint8)).sum(-1, dtype=torch.uint8)

    def footprint(self, backbone: Backbone, context: int, path: np.ndarray, units: Tensor | None = None) -> Footprint:
        """The multiplications of a dense network: zeros that stand anywhere save none. Stored are sign and mask."""
        plain, run = footprint(backbone, context, path), int(path.sum())
        kept = backbone.blocks * backbone.static_block_weights()
        return Footprint(plain.macs, plain.macs_paper, kept, kept, chosen=STORED * 8 * self.choice_bytes * run)

    def specialised_footprint(
        self, backbone: Backbone, context: int, path: np.ndarray, choices: Mapping[int, np.ndarray]
    ) -> Footprint:
        return self.footprint(backbone, context, path)

    def least(self, backbone: Backbone, context: int, path: np.ndarray) -> Footprint:
        return self.footprint(backbone, context, path)

    def installed_bits(self, backbone: Backbone, bits: int) -> int:
        """The seed alone."""
        return SEED_BITS


class MaskMapper(LowRankMapper):
    """Scores of all weights: shared ones, changed in a few directions by the latent interest."""

    kind = "masks"

    def __init__(self, backbone: Backbone, generator: torch.Generator) -> None:
        super().__init__(backbone, generator)
        self.network = MaskedNetwork(backbone, generator)

    def choose(self, k: int, latent: Tensor) -> Tensor:
        """What is sent of block ``k``, ``(D, choice_bytes)`` uint8."""
        return self.network.packed(super().block(k, latent) > 0)

    def block(self, k: int, latent: Tensor) -> Tensor:
        """The weights that a device makes of it, ``(D, block_size)``."""
        return self.network.specialise(k, self.choose(k, latent))

    def applied(self, k: int, latent: Tensor) -> Layers:
        """The same block as training runs it: products in the precision of fast ones, gradients straight through."""
        precision = product_type(latent.device) if self.training else torch.float32
        scores = self.unpack(self.base[k].unsqueeze(0))
        frozen = self.unpack(self.network.stored(k).to(latent.device, precision).unsqueeze(0))

        def apply(layer: int, x: Tensor) -> Tensor:
            i = k * len(self.shapes) + layer
            change = (self.down[i] * (latent @ self.code[i]).unsqueeze(1)).to(precision) @ self.up[i].to(precision)
            matrix: Tensor = _Masked.apply(scores[layer][0].to(precision) + change, frozen[layer][0])
            out = torch.bmm(x.flatten(1, 2).to(precision), matrix)
            return out.to(x.dtype).view(*x.shape[:-1], -1)

        return apply


class _Masked(torch.autograd.Function):
    """Frozen weights where their score is above zero; the gradient of a score is that of its weight's factor."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, frozen: Tensor) -> Tensor:
        ctx.save_for_backward(frozen)
        return scores.sign().relu_().mul_(frozen)  # several times as fast as a choice in bfloat16

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (frozen,) = ctx.saved_tensors
        return grads[0] * frozen, None


@lru_cache(maxsize=64)
def _signs(seed: int, k: int, count: int) -> Tensor:
    """``(count,)`` of 1 and -1: the highest bit of each number that NumPy's PCG64, whose stream no version changes,
    draws from these two."""
    raw = np.random.PCG64([seed, k]).random_raw(count)
    return torch.from_numpy(np.where(raw >> np.uint64(63), 1.0, -1.0).astype(np.float32))
