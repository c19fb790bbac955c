"""A mapper of low rank: every device's network is a shared one, changed in a few directions by its latent interest.

Of each linear layer ``y = x W + b`` the cloud makes, for a device with latent interest ``h``,

    y = x (W + V diag(g) U) + b + s,      g = h C  (rank 16),  s = h S

so that a block takes ``d (r + out)`` numbers of the interest in place of the paper's one head with ``64 x 20,800``. In
training the product is applied from right to left and no device's weights are ever made; for a device they are folded
into ``(block_size,)`` numbers, the same that the full-rank mapper of the paper sends.

Ours, not the paper's; low-rank changes of a frozen network: LoRA (Hu et al. 2022), there without an interest.
"""

import math

import torch
from torch import Tensor, nn

from models.backbones.base import DIM, Backbone, Layers

RANK = 16


class LowRankMapper(nn.Module):
    """One low-rank change a linear layer; all zero at first, so that every device begins with the shared network."""

    kind = "low-rank"

    def __init__(self, backbone: Backbone, generator: torch.Generator) -> None:
        super().__init__()
        self.shapes = backbone.shapes
        self.unpack = backbone.unpack
        self.base = nn.ParameterList(backbone.initial_blocks(generator))
        self.down, self.up = nn.ParameterList(), nn.ParameterList()
        self.code, self.shift = nn.ParameterList(), nn.ParameterList()
        for _ in range(backbone.blocks):
            for inputs, outputs in self.shapes:
                self.down.append(torch.randn(inputs, RANK, generator=generator) / math.sqrt(inputs))
                self.up.append(torch.zeros(RANK, outputs))
                self.code.append(torch.randn(DIM, RANK, generator=generator) * 2 / math.sqrt(DIM))
                self.shift.append(torch.zeros(DIM, outputs))

    def block(self, k: int, latent: Tensor) -> Tensor:
        """Weights of block ``k`` for each device, ``(D, block_size)``."""
        parts = []
        for j, (matrix, bias) in enumerate(self.unpack(self.base[k].unsqueeze(0))):
            i = k * len(self.shapes) + j
            change = (self.down[i] * (latent @ self.code[i]).unsqueeze(1)) @ self.up[i]
            parts += [(matrix + change).flatten(1), bias + latent @ self.shift[i]]
        return torch.cat(parts, dim=1)

    def applied(self, k: int, latent: Tensor) -> Layers:
        """Block ``k`` with the weights that :meth:`block` would make, without making them."""
        parts = self.unpack(self.base[k].unsqueeze(0))

        def apply(layer: int, x: Tensor) -> Tensor:
            i, (matrix, bias) = k * len(self.shapes) + layer, parts[layer]
            flat = x.flatten(0, 2)
            inner = (flat @ self.down[i]).view(*x.shape[:-1], -1) * (latent @ self.code[i])[:, None, None]
            shared = torch.addmm(bias[0], flat, matrix[0])
            out = torch.addmm(shared, inner.flatten(0, 2), self.up[i]).view(*x.shape[:-1], -1)
            return out + (latent @ self.shift[i])[:, None, None]

        return apply

    def macs(self, blocks_generated: int) -> int:
        """Multiply-accumulates in the cloud for one device."""
        each = sum(DIM * (RANK + outputs) + inputs * RANK * (1 + outputs) for inputs, outputs in self.shapes)
        return blocks_generated * each
