"""SASRec as the paper counts it: 6 blocks, d = 64, 4 heads, no output projection, LayerNorms without weights.

One block is 3 + 2 linear layers of 64 x 64 with bias: 5 * (4,096 + 64) = 20,800 weights, all of them generated.
(Layout after Kang & McAuley 2018; the counts of the paper's Table 1 exclude an output projection and affine LayerNorms,
see docs/paper.md, "How the paper counts".)
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from models.backbones.base import DIM, Backbone, Layers
from models.kernels.attention import LONGEST, causal_attention

HEADS = 4
HEAD_DIM = DIM // HEADS
_QKV = DIM * 3 * DIM
_FFN = DIM * DIM


class SASRec(Backbone):
    """Self-attentive sequential recommendation with block weights as an argument.

    A block's weights, in this order: ``W_qkv (64, 192), b_qkv (192), W_1 (64, 64), b_1 (64), W_2 (64, 64), b_2 (64)``.
    """

    block_size = 5 * (DIM * DIM + DIM)
    linears, inputs = 5, DIM
    shapes = ((DIM, 3 * DIM), (DIM, DIM), (DIM, DIM))

    def initial_block(self, block: int, generator: torch.Generator) -> Tensor:
        """Xavier-uniform matrices, zero biases."""
        bound = math.sqrt(6 / (DIM + DIM))
        weights = (torch.rand(self.block_size, generator=generator) * 2 - 1) * bound
        weights[_QKV : _QKV + 3 * DIM] = 0
        start = _QKV + 3 * DIM
        weights[start + _FFN : start + _FFN + DIM] = 0
        weights[-DIM:] = 0
        return weights

    def embed(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """The same with the real items first, so that causal attention never sees the padding behind them."""
        n = windows.shape[-1]
        place = (torch.arange(n, device=windows.device) + _padding(windows)) % n
        items = windows.gather(-1, place)
        real = (items != 0).unsqueeze(-1)
        x = self.embedded(items) * math.sqrt(DIM) + F.embedding(place, self.positions[-n:])
        return x * real, real

    def finish(self, x: Tensor, windows: Tensor) -> Tensor:
        """Normalised, and the padding in front again."""
        n = windows.shape[-1]
        place = (torch.arange(n, device=windows.device) - _padding(windows)) % n
        return F.layer_norm(x, (DIM,)).gather(2, place.unsqueeze(-1).expand_as(x))

    def pack(self, matrices: list[Tensor], biases: Tensor) -> Tensor:
        """Linear layers in the order Q, K, V, 1, 2."""
        qkv = torch.cat([matrix.view(DIM, DIM) for matrix in matrices[:3]], dim=1)
        w_1, w_2 = matrices[3:]
        return torch.cat([x.reshape(-1) for x in (qkv, biases[:3], w_1, biases[3], w_2, biases[4])])

    def run_block(self, block: int, x: Tensor, weights: Tensor | Layers, units: Tensor | None = None) -> Tensor:
        """Pre-norm self-attention and a two-layer feed-forward network, each with its residual."""
        devices, per_device, n, _ = x.shape
        apply = self.layers(weights)
        normed = F.layer_norm(x, (DIM,))
        qkv = _gate(apply(0, normed), units, 0, 3 * DIM)
        if self.fast(x) and n <= LONGEST:
            x = x + causal_attention(qkv.flatten(0, 1), HEADS).view(x.shape)
        else:
            q, k, v = qkv.view(-1, n, 3, HEADS, HEAD_DIM).permute(2, 0, 3, 1, 4)  # each (D * R, heads, n, 16)
            mixed = self.arithmetic.attention(q, k, v)
            x = x + mixed.transpose(1, 2).reshape(devices, per_device, n, DIM)
        normed = F.layer_norm(x, (DIM,))
        hidden = F.relu(_gate(apply(1, normed), units, 3 * DIM, 4 * DIM))
        return x + _gate(apply(2, hidden), units, 4 * DIM, 5 * DIM)

    def block_macs(self, context: int) -> int:
        """Five linear layers, and the two products of attention."""
        return 5 * context * DIM * DIM + 2 * context * context * DIM

    def paper_macs(self, context: int, blocks_run: int) -> int:
        """Linear layers of the blocks that run, LayerNorms and softmax of all of them (reading of Table 1).

        With 5 items and 6 blocks: 614,400 + 13 * 640 + 6 * 280 = 624,400; with a mean of k blocks 10,000 + 102,400 k.
        """
        linear = 5 * context * DIM * DIM * blocks_run
        norms = (2 * self.blocks + 1) * 2 * context * DIM
        softmax = self.blocks * HEADS * context * (3 * context - 1)
        return linear + norms + softmax

    def static_block_weights(self) -> int:
        """None: the LayerNorms have no weights."""
        return 0


def _gate(out: Tensor, units: Tensor | None, start: int, end: int) -> Tensor:
    """``out`` ``(D, R, n, end - start)`` with units ``start`` to ``end`` of the block switched on or off."""
    return out if units is None else out * units[:, :, None, start:end]


def _padding(windows: Tensor) -> Tensor:
    """How many items of each window are padding, ``(..., 1)``."""
    return (windows == 0).sum(dim=-1, keepdim=True)
