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
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from models.backbones.base import DIM, Backbone, Layers
from models.delivery import decode, encode
from models.device_part import DevicePart
from models.kernels.deviation import DeviatingLinear, Deviations
from models.kernels.linear import LowRankLinear
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


class LowRankBases(nn.Module):
    """What a device needs to make blocks of codes: shared blocks, and the directions of a change of each layer."""

    kind = "low-rank"

    def __init__(self, backbone: Backbone, generator: torch.Generator) -> None:
        super().__init__()
        self.shapes = backbone.shapes
        self.unpack = backbone.unpack
        self.base = nn.ParameterList(backbone.initial_blocks(generator))
        layers = self.shapes * backbone.blocks
        self.down = nn.ParameterList(torch.zeros(inputs, RANK) for inputs, _ in layers)
        self.up = nn.ParameterList(torch.zeros(RANK, outputs) for _, outputs in layers)

    @property
    def pieces(self) -> list[int]:
        """The lengths of the pieces of a block's code: of each linear layer its gains and its shifts."""
        return [size for _, outputs in self.shapes for size in (RANK, outputs)]

    def fold(self, k: int, code: Tensor) -> Tensor:
        """Weights ``(D, block_size)`` of block ``k`` with the codes ``(D, C)``: gains and shifts of each layer.

        Each number goes to its place as soon as it is made, for a few devices at a time, so that what lies between the
        two products and the place stays in the processor's cache.
        """
        out, place, pieces = code.new_empty(len(code), len(self.base[k])), 0, code.split(self.pieces, dim=1)
        for j, (matrix, bias) in enumerate(self.unpack(self.base[k].unsqueeze(0))):
            i, end = k * len(self.shapes) + j, place + matrix.numel()
            gains, shift, up = pieces[2 * j], pieces[2 * j + 1], self.up[i].unsqueeze(0)
            for start in range(0, len(code), CACHED):
                inner = self.down[i] * gains[start : start + CACHED].unsqueeze(1)
                count = len(inner)
                made = torch.baddbmm(matrix.expand(count, -1, -1), inner, up.expand(count, -1, -1))
                out[start : start + count, place:end] = made.flatten(1)
            out[:, end : end + bias.numel()] = bias + shift
            place = end + bias.numel()
        return out

    def fold_macs(self, blocks: int) -> int:
        """Multiply-accumulates of folding the codes of so many blocks of one device."""
        return blocks * sum(inputs * RANK * (1 + outputs) for inputs, outputs in self.shapes)


class LowRankMapper(LowRankBases):
    """One low-rank change a linear layer; all zero at first, so that every device begins with the shared network."""

    bits = 32
    """Of a number of a code: with fewer than 32, blocks are made of what the codes are after they have been sent."""

    def __init__(self, backbone: Backbone, generator: torch.Generator) -> None:
        super().__init__(backbone, generator)
        self.code, self.shift = nn.ParameterList(), nn.ParameterList()
        for i, (inputs, outputs) in enumerate(self.shapes * backbone.blocks):
            self.down[i] = torch.randn(inputs, RANK, generator=generator) / math.sqrt(inputs)
            self.code.append(torch.randn(DIM, RANK, generator=generator) * 2 / math.sqrt(DIM))
            self.shift.append(torch.zeros(DIM, outputs))

    def codes(self, k: int, latent: Tensor) -> Tensor:
        """Codes ``(D, C)`` of block ``k`` for devices with latent interests ``(D, 64)``."""
        layers = range(k * len(self.shapes), (k + 1) * len(self.shapes))
        return torch.cat([latent @ part[i] for i in layers for part in (self.code, self.shift)], dim=1)

    def block(self, k: int, latent: Tensor) -> Tensor:
        """Weights of block ``k`` for each device, ``(D, block_size)``."""
        code = self.codes(k, latent)
        return self.fold(k, code if self.bits == 32 else decode(*encode(code, self.pieces, self.bits), self.pieces))

    def applied(self, k: int, latent: Tensor) -> Layers:
        """Block ``k`` with the weights that :meth:`block` would make, without making them."""
        parts = self.unpack(self.base[k].unsqueeze(0))

        def apply(layer: int, x: Tensor) -> Tensor:
            i, (matrix, bias) = k * len(self.shapes) + layer, parts[layer]
            if self.training:
                factors = matrix[0], bias[0], self.down[i], self.up[i]
                made: Tensor = LowRankLinear.apply(
                    x.flatten(1, 2), *factors, latent @ self.code[i], latent @ self.shift[i]
                )
                return made.view(*x.shape[:-1], -1)
            flat = x.flatten(0, 2)
            inner = (flat @ self.down[i]).view(*x.shape[:-1], -1) * (latent @ self.code[i])[:, None, None]
            shared = torch.addmm(bias[0], flat, matrix[0])
            out = torch.addmm(shared, inner.flatten(0, 2), self.up[i]).view(*x.shape[:-1], -1)
            return out + (latent @ self.shift[i])[:, None, None]

        return apply

    def code_macs(self, blocks: int) -> int:
        """Multiply-accumulates of the codes of so many blocks for one device."""
        return blocks * sum(DIM * (RANK + outputs) for _, outputs in self.shapes)

    def macs(self, blocks_generated: int) -> int:
        """Multiply-accumulates of codes and folding for one device, in the cloud or wherever the mapper is."""
        return self.code_macs(blocks_generated) + self.fold_macs(blocks_generated)


AnyMapper = Mapper | LowRankMapper | PrecisionMapper
"""What makes networks of latent interests, in the cloud or (with ``--delivery local``) on the devices."""

Made = TypeVar("Made", Tensor, Tensor | Layers)


def block_weights(make: Callable[[int, Tensor], Made], latent: Tensor) -> Callable[[int, Tensor | None], Made]:
    """Give the :data:`models.backbones.base.BlockWeights` of devices with latent interests ``latent`` ``(D, 64)``.

    ``make`` is ``block`` of a mapper, or ``applied`` in training. Nothing is made before a block is asked for, and then
    only for the devices that run it.
    """
    return lambda k, rows: make(k, latent if rows is None else latent[rows])


def by_device(make: Callable[[int, Tensor], Tensor], given: Sequence[Mapping[int, Tensor]]) -> list[dict[int, Tensor]]:
    """What ``make(k, rows)`` gives of the blocks of each device: block by block, for the devices that have it and no
    others.

    ``given[d][k]`` ``(n,)`` is what block ``k`` of device ``d`` is made of: its latent interest, or its code.
    """
    made: list[dict[int, Tensor]] = [{} for _ in given]
    for k in sorted({k for mine in given for k in mine}):
        rows = [row for row, mine in enumerate(given) if k in mine]
        for row, value in zip(rows, make(k, torch.stack([given[row][k] for row in rows])), strict=True):
            made[row][k] = value
    return made


def generate(
    part: DevicePart, mapper: AnyMapper, history: Tensor, lengths: Tensor, path: Tensor
) -> Callable[[int, Tensor | None], Tensor]:
    """Give the weights that the cloud makes for devices with this ``history`` and ``path`` ``(D, L)``.

    ``history`` ``(D, m)`` are the recent items, right-padded; ``lengths`` ``(D,)`` of them are real.
    """
    return block_weights(mapper.block, part.latent_on_path(history, lengths, path))
