"""NextItNet as the paper counts it: 12 residual blocks of two dilated causal convolutions of width 3, d = 64.

One block generates 2 * (64 * 64 * 3 + 64) = 24,704 weights; its two LayerNorms (256 weights) are shared by all devices.
(Layout after Yuan et al. 2019: convolution, LayerNorm, ReLU, convolution with twice the dilation, LayerNorm, ReLU,
plus the input; dilations alternate 1 and 4; left zero padding.)
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbones.base import DIM, Backbone, Layers

WIDTH = 3
DILATIONS = (1, 4)
_KERNEL = WIDTH * DIM * DIM


class NextItNet(Backbone):
    """Dilated causal convolutions with the convolution weights as an argument.

    A block's weights, in this order: ``K_1 (3 * 64, 64), b_1 (64), K_2 (3 * 64, 64), b_2 (64)``; row ``t * 64 + i`` of
    a kernel multiplies channel ``i`` of the ``t``-th oldest of the three taps.
    """

    block_size = 2 * (_KERNEL + DIM)
    linears, inputs = 2, WIDTH * DIM
    shapes = ((WIDTH * DIM, DIM), (WIDTH * DIM, DIM))

    def __init__(self, num_items: int, blocks: int, context: int, generator: torch.Generator) -> None:
        super().__init__(num_items, blocks, context, generator)
        self.norm_scale = nn.Parameter(torch.ones(blocks, 2, DIM))
        self.norm_shift = nn.Parameter(torch.zeros(blocks, 2, DIM))

    def initial_block(self, block: int, generator: torch.Generator) -> Tensor:
        """Xavier-uniform kernels, zero biases."""
        bound = math.sqrt(6 / (WIDTH * DIM + DIM))
        weights = (torch.rand(self.block_size, generator=generator) * 2 - 1) * bound
        weights[_KERNEL : _KERNEL + DIM] = 0
        weights[-DIM:] = 0
        return weights

    def pack(self, matrices: list[Tensor], biases: Tensor) -> Tensor:
        """The two convolutions."""
        return torch.cat([matrices[0].reshape(-1), biases[0], matrices[1].reshape(-1), biases[1]])

    def run_block(self, block: int, x: Tensor, weights: Tensor | Layers, units: Tensor | None = None) -> Tensor:
        """x + ReLU(LN(conv(ReLU(LN(conv(x)))))), the second convolution with twice the dilation."""
        dilation = DILATIONS[block % len(DILATIONS)]
        apply = self.layers(weights)
        y = apply(0, _taps(x, dilation))
        y = y if units is None else y * units[:, :, None, :DIM]
        y = F.relu(F.layer_norm(y, (DIM,), self.norm_scale[block, 0], self.norm_shift[block, 0], eps=1e-8))
        y = apply(1, _taps(y, 2 * dilation))
        y = y if units is None else y * units[:, :, None, DIM:]
        y = F.relu(F.layer_norm(y, (DIM,), self.norm_scale[block, 1], self.norm_shift[block, 1], eps=1e-8))
        return x + y

    def block_macs(self, context: int) -> int:
        """Two convolutions of width 3."""
        return 2 * context * WIDTH * DIM * DIM

    def paper_macs(self, context: int, blocks_run: int) -> int:
        """Convolutions of the blocks that run, LayerNorms of all: with 5 items 30,720 + 122,880 k (Table 1)."""
        return blocks_run * self.block_macs(context) + self.blocks * 2 * 4 * context * DIM

    def static_block_weights(self) -> int:
        """Two LayerNorms of 64 scales and 64 shifts."""
        return 2 * 2 * DIM


def _taps(x: Tensor, dilation: int) -> Tensor:
    """What a causal convolution of ``(D, R, n, d)`` reads at each position, oldest first: ``(D, R, n, 3 * d)``."""
    n = x.shape[2]
    padded = F.pad(x, (0, 0, 2 * dilation, 0))
    return torch.cat([padded[:, :, t * dilation : t * dilation + n] for t in range(WIDTH)], dim=-1)
