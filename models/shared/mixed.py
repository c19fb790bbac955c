"""CHORD's idea: one network on all devices, in which the cloud chooses the bits of each channel for each device.

Liu et al. 2025. A channel is an output unit of a linear layer. The device has the network's numbers; two bits a channel
come down and say on which grid it puts that channel's weights. On a grid of ``b`` bits a weight is a step times a whole
number of at most 2^(b - 1) - 1. The step is the channel's largest magnitude over that number; with two bits, where the
largest would leave next to nothing of the others, it is the best one for three levels of a normal distribution.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from models.arithmetic import SCALE_BITS
from models.backbones.base import DIM, Backbone, Layers
from models.kernels.precision import product_type
from models.shared.plain import Footprint, footprint, static_bits
from models.shared.specialised import SpecialisedNetwork

CHOICES = (2, 4, 6, 8)
"""Bits that a weight of a channel may have, in the order of their two-bit numbers."""
TERNARY_STEP = 1.224
"""Of three levels, in root mean squares: least mean squared error for a normal distribution (Max 1960)."""
CHOICE_BITS = 2
HEAD_SCALE = 0.1 / DIM
"""Standard deviation of a fresh head's matrix."""


def on_grid(matrix: Tensor, bits: int) -> Tensor:
    """``matrix`` ``(..., in, out)`` with each channel on its grid of so many ``bits``."""
    largest = 2 ** (bits - 1) - 1
    if largest == 1:
        step = TERNARY_STEP * matrix.square().mean(-2, keepdim=True).sqrt()
    else:
        step = matrix.abs().amax(-2, keepdim=True) / largest
    step = step.clamp(min=torch.finfo(torch.float32).tiny)
    return (matrix / step).round().clamp(-largest, largest) * step


class MixedNetwork(SpecialisedNetwork):
    """Plain blocks whose channels may each be put on another grid; biases stay as they are."""

    kind = "mixed"

    def __init__(self, backbone: Backbone, generator: torch.Generator) -> None:
        super().__init__(backbone, generator)
        self.unpack, self.channels = backbone.unpack, backbone.linears * DIM
        self.inputs = backbone.inputs
        self.choice_bytes = self.channels * CHOICE_BITS // 8

    def versions(self, k: int) -> list[tuple[Tensor, Tensor]]:
        """Of each matrix of block ``k`` its versions ``(4, in, out)``, one for each of :data:`CHOICES`, and its bias
        ``(out,)``; a version's gradient is that of the matrix itself."""
        out = []
        for matrix, bias in self.unpack(self[k]):
            whole = matrix[0]
            grids = torch.stack([on_grid(whole.detach(), bits) for bits in CHOICES])
            out.append((whole + (grids - whole.detach()), bias[0]))
        return out

    def specialise(self, k: int, choices: Tensor) -> Tensor:
        parts, chosen = [], self.unpacked(choices)
        for matrix, bias in self.unpack(self[k]):
            mine, chosen = chosen[:, : len(bias[0])], chosen[:, len(bias[0]) :]
            made = matrix.new_empty(len(choices), *matrix.shape[1:])
            for number, bits in enumerate(CHOICES):
                made = torch.where((mine == number).unsqueeze(1), on_grid(matrix[0], bits), made)
            parts += [made.flatten(1), bias.expand(len(choices), -1)]
        return torch.cat(parts, dim=1)

    def packed(self, chosen: Tensor) -> Tensor:
        """Numbers of choices ``(D, channels)`` as ``(D, choice_bytes)`` uint8: four a byte, the lowest bits first."""
        fours = chosen.view(len(chosen), -1, 4).to(torch.uint8)
        return (fours << torch.arange(0, 8, 2, dtype=torch.uint8)).sum(-1, dtype=torch.uint8)

    def unpacked(self, choices: Tensor) -> Tensor:
        """The inverse."""
        return ((choices.unsqueeze(-1) >> torch.arange(0, 8, 2, dtype=torch.uint8)) & 3).flatten(1)

    def footprint(self, backbone: Backbone, context: int, path: np.ndarray, units: Tensor | None = None) -> Footprint:
        """With all channels in the most bits there are to choose."""
        return self._in_bits(backbone, context, path, CHOICES[-1] * self.channels * int(path.sum()))

    def specialised_footprint(
        self, backbone: Backbone, context: int, path: np.ndarray, choices: Mapping[int, np.ndarray]
    ) -> Footprint:
        """The weights in the bits that were chosen, a scale a channel, and the biases."""
        run = np.flatnonzero(path).tolist()
        numbers = [self.unpacked(torch.from_numpy(choices[k]).unsqueeze(0)).long() for k in run]
        bits = sum(int(torch.tensor(CHOICES)[one].sum()) for one in numbers)
        return self._in_bits(backbone, context, path, bits)

    def least(self, backbone: Backbone, context: int, path: np.ndarray) -> Footprint:
        return self._in_bits(backbone, context, path, CHOICES[0] * self.channels * int(path.sum()))

    def installed_bits(self, backbone: Backbone, bits: int) -> int:
        """All of its numbers in the device's precision: of these the device makes every grid."""
        everything = np.ones(backbone.blocks, dtype=bool)
        return footprint(backbone, backbone.context, everything).bits(bits) - static_bits(backbone, bits)

    def _in_bits(self, backbone: Backbone, context: int, path: np.ndarray, bits: int) -> Footprint:
        """``bits`` is the sum over the channels of the bits of one weight."""
        plain, channels = footprint(backbone, context, path), self.channels * int(path.sum())
        chosen = self.inputs * bits + SCALE_BITS * channels
        return replace(plain, weights=plain.biases, channels=0, chosen=chosen)


class PrecisionMapper(nn.Module):
    """One head a block: from the latent interest to one logit for each channel and choice."""

    kind = "precision"

    def __init__(self, backbone: Backbone, generator: torch.Generator) -> None:
        super().__init__()
        self.network = MixedNetwork(backbone, generator)
        self.blocks, self.channels = backbone.blocks, self.network.channels
        outputs = self.channels * len(CHOICES)
        self.heads = nn.ParameterList(
            torch.randn(DIM, outputs, generator=generator) * HEAD_SCALE for _ in range(backbone.blocks)
        )
        self.biases = nn.ParameterList(torch.zeros(outputs) for _ in range(backbone.blocks))

    def logits(self, k: int, latent: Tensor) -> Tensor:
        """``(D, 4, channels)``; the largest decides. The interest is divided by the root of its width, as the full-rank
        mapper does."""
        flat = torch.addmm(self.biases[k], latent / math.sqrt(DIM), self.heads[k])
        return flat.view(len(latent), len(CHOICES), self.channels)

    def gates(self, k: int, latent: Tensor, noise: torch.Generator | None, temperature: float) -> Tensor:
        """Which choice each channel has, ``(D, 4, channels)`` of 0 and 1; with ``noise`` drawn (Gumbel-softmax), its
        gradient that of the softmax."""
        logits = self.logits(k, latent)
        if noise is None:
            return _one_hot(logits)
        uniform = torch.rand(logits.shape, generator=noise).to(logits.device).clamp_(1e-7, 1 - 1e-7)
        soft = ((logits - uniform.log_().neg_().log_()) / temperature).softmax(1)
        return _one_hot(soft.detach()) + (soft - soft.detach())

    def choose(self, k: int, latent: Tensor) -> Tensor:
        """What is sent of block ``k``, ``(D, choice_bytes)`` uint8."""
        return self.network.packed(self.logits(k, latent).argmax(1))

    def block(self, k: int, latent: Tensor) -> Tensor:
        """The weights that a device makes of it, ``(D, block_size)``."""
        return self.network.specialise(k, self.choose(k, latent))

    def applied(self, k: int, gates: Tensor) -> Layers:
        """Block ``k`` with these ``gates`` ``(D, 4, channels)``: the four versions run and the gates pick, so that no
        device's weights are made."""
        precision = product_type(gates.device) if self.training else torch.float32
        versions, starts = self.network.versions(k), [0]
        for _, bias in versions:
            starts.append(starts[-1] + len(bias))

        def apply(layer: int, x: Tensor) -> Tensor:
            matrices, bias = versions[layer]
            wide = matrices.permute(1, 0, 2).flatten(1).to(precision)  # (in, 4 * out)
            out = (x.flatten(0, 2).to(precision) @ wide).view(len(x), -1, len(CHOICES), len(bias))
            mine = gates[:, :, starts[layer] : starts[layer + 1]].to(precision)
            return (out * mine.unsqueeze(1)).sum(2).to(x.dtype).view(*x.shape[:-1], -1) + bias

        return apply

    def macs(self, blocks_generated: int) -> int:
        """Multiply-accumulates in the cloud for one device."""
        return blocks_generated * DIM * self.channels * len(CHOICES)


def _one_hot(scores: Tensor) -> Tensor:
    """1 at the first of the largest of ``scores`` ``(D, 4, channels)`` along the choices, else 0."""
    return torch.zeros_like(scores).scatter_(1, scores.argmax(1, keepdim=True), 1.0)
