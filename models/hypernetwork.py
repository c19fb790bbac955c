"""The cloud's hypernetwork: one head ``H'_k`` a block turns a latent interest into that block's weights (equation 8).

:class:`Mapper` is the paper's, of full rank. :class:`LowRankMapper` is ours: every device's network is a shared one,
changed in a few directions by its latent interest. Of each linear layer ``y = x W + b`` the cloud makes, for a device
with latent interest ``h``,

    y = x (W + V diag(g) U) + b + s,      g = h C  (rank 16),  s = h S

so that a block takes ``d (r + out)`` numbers of the interest in place of the paper's one head with ``64 x 20,800``. In
training the product is applied from right to left and no device's weights are ever made; for a device they are folded
into ``(block_size,)`` numbers, the same that the full-rank mapper sends. Low-rank changes of a frozen network: LoRA (Hu
et al. 2022), there without an interest.
"""

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from models.backbones.base import DIM, Backbone, Layers
from models.device_part import DevicePart
from models.kernels.deviation import DeviatingLinear, Deviations
from models.shared.mixed import PrecisionMapper

HEAD_SCALE = 0.1 / DIM
"""Standard deviation of a fresh head's matrix."""
RANK = 16
CACHED = 8
"""Devices whose low-rank changes of a layer are made at once: with 64 x 192 numbers, 400 kB."""


class Mapper(nn.Module):
    """The heads ``H'_k``, one a block: latent interest ``(D, 64)`` to block weights ``(D, block_size)`` (equation 8).

    The bias of a head is one ordinary set of block weights, and its matrix starts small: training begins with every
    device close to one shared network and learns how to deviate from it. The latent interest is divided by the root of
    its width, which changes no function a head can be, but makes one step of Adam move a generated weight about as far
    as it would move a plain one.
    """

    kind = "full-rank"
    """Names the class in a model's file."""

    def __init__(self, backbone: Backbone, generator: torch.Generator) -> None:
        super().__init__()
        self.sizes = backbone.sizes
        self.unpack = backbone.unpack
        # One parameter a block, not one for all: the gradient of a slice would be a tensor as large as the whole.
        self.base = nn.ParameterList(backbone.initial_blocks(generator))
        self.heads = nn.ParameterList(
            torch.randn(DIM, backbone.block_size, generator=generator) * HEAD_SCALE for _ in range(backbone.blocks)
        )

    def block(self, k: int, latent: Tensor) -> Tensor:
        """Weights of block ``k`` for each device, ``(D, block_size)``."""
        return torch.addmm(self.base[k], latent / math.sqrt(DIM), self.heads[k])

    def applied(self, k: int, latent: Tensor) -> Tensor | Layers:
        """Block ``k`` as training runs it: the shared network and the deviations of :meth:`block` apart."""
        if not self.training:
            return self.block(k, latent)
        parts: tuple[Tensor, ...] = Deviations.apply(latent / math.sqrt(DIM), self.heads[k], self.sizes)
        shared = self.unpack(self.base[k].unsqueeze(0))

        def apply(layer: int, x: Tensor) -> Tensor:
            (matrix, bias), (change, shift) = shared[layer], parts[2 * layer : 2 * layer + 2]
            out: Tensor = DeviatingLinear.apply(x.flatten(1, 2), matrix[0], bias[0], change, shift)
            return out.view(*x.shape[:-1], -1)

        return apply

    def macs(self, blocks_generated: int) -> int:
        """Multiply-accumulates in the cloud for one device."""
        return blocks_generated * self.heads[0].numel()


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
        """Weights of block ``k`` for each device, ``(D, block_size)``.

        Each number goes to its place as soon as it is made, for a few devices at a time, so that what lies between the
        two products and the place stays in the processor's cache.
        """
        out, place = latent.new_empty(len(latent), len(self.base[k])), 0
        for j, (matrix, bias) in enumerate(self.unpack(self.base[k].unsqueeze(0))):
            i, end = k * len(self.shapes) + j, place + matrix.numel()
            up, code = self.up[i].unsqueeze(0), latent @ self.code[i]
            for start in range(0, len(latent), CACHED):
                some = code[start : start + CACHED]
                inner, count = self.down[i] * some.unsqueeze(1), len(some)
                made = torch.baddbmm(matrix.expand(count, -1, -1), inner, up.expand(count, -1, -1))
                out[start : start + count, place:end] = made.flatten(1)
            out[:, end : end + bias.numel()] = bias + latent @ self.shift[i]
            place = end + bias.numel()
        return out

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


AnyMapper = Mapper | LowRankMapper | PrecisionMapper
"""What may stand in the cloud."""

Made = TypeVar("Made", Tensor, Tensor | Layers)


def block_weights(make: Callable[[int, Tensor], Made], latent: Tensor) -> Callable[[int, Tensor | None], Made]:
    """Give the :data:`models.backbones.base.BlockWeights` of devices with latent interests ``latent`` ``(D, 64)``.

    ``make`` is ``block`` of a mapper, or ``applied`` in training. Nothing is made before a block is asked for, and then
    only for the devices that run it.
    """
    return lambda k, rows: make(k, latent if rows is None else latent[rows])


def generate(
    part: DevicePart, mapper: AnyMapper, history: Tensor, lengths: Tensor, path: Tensor
) -> Callable[[int, Tensor | None], Tensor]:
    """Give the weights that the cloud makes for devices with this ``history`` and ``path`` ``(D, L)``.

    ``history`` ``(D, m)`` are the recent items, right-padded; ``lengths`` ``(D,)`` of them are real.
    """
    return block_weights(mapper.block, part.latent_on_path(history, lengths, path))
