"""STTD: every linear layer as a semi-tensor product of two small matrices (Xia et al. 2022, there for item embeddings).

``W (A, B) = G_0 (A, r) |x G_1 (r / t, B / t)``, which is ``G_0 (G_1 kron I_t)``: ``A r + r B / t^2`` numbers instead of
``A B``, and ``A B r / t`` multiply-accumulates to build ``W`` again. The paper's Table 1 counts a layer that is built
for every inference, and so does this code: what is stored are the two matrices.

The sizes for SASRec give the paper's numbers to the last digit. For NextItNet no pair of matrices gives both of them;
the nearest is taken (4.2639 Mbit and 4.4544 million multiply-accumulates, the paper has 4.5957 and 4.1595).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.backbones.base import DIM, Backbone
from models.shared.plain import Footprint, Network, footprint


@dataclass(frozen=True)
class Ranks:
    """How one linear layer is decomposed: its numbers are arranged as a matrix ``(rows, columns)``."""

    rows: int
    columns: int
    rank: int
    step: int

    @property
    def numbers(self) -> int:
        """Of both matrices."""
        return self.rows * self.rank + self.rank * self.columns // self.step**2

    @property
    def macs(self) -> int:
        """Multiply-accumulates that build the layer."""
        return self.rows * self.columns * self.rank // self.step


RANKS = {DIM: Ranks(64, 64, rank=48, step=2), 3 * DIM: Ranks(128, 96, rank=40, step=4)}
"""By the numbers that one unit reads: linear layers of SASRec, convolutions of NextItNet."""


def semi_tensor_product(first: Tensor, second: Tensor, step: int) -> Tensor:
    """``first`` ``(A, r)`` and ``second`` ``(r / t, B / t)`` with ``step`` t: ``(A, B)``.

    Without the Kronecker product's zeros: entry ``(a, j t + s)`` is the sum over i of ``first[a, i t + s]`` times
    ``second[i, j]``.
    """
    rows = first.shape[0]
    return torch.einsum("ais,ij->ajs", first.view(rows, -1, step), second).reshape(rows, -1)


class FactoredNetwork(Network):
    """Blocks that are stored as factors; of each linear layer ``G_0``, ``G_1`` and the bias, one after the other."""

    kind = "sttd"

    def __init__(self, backbone: Backbone, generator: torch.Generator) -> None:
        super().__init__(backbone, generator)
        self.ranks, self.linears, self.pack = RANKS[backbone.inputs], backbone.linears, backbone.pack
        inner = self.ranks.rank // self.ranks.step
        for k in range(backbone.blocks):
            block = self.stored(k).detach()
            # The product has the variance of the layer it stands for: that of a sum of `inner` products.
            scale = math.sqrt(float(block[block != 0].std()) / math.sqrt(inner))
            weights = torch.randn(self.linears, self.ranks.numbers, generator=generator) * scale
            stored = torch.cat([weights, torch.zeros(self.linears, DIM)], dim=1)
            self[k] = stored.flatten()

    def __getitem__(self, k: int) -> Tensor:  # type: ignore[override]
        sizes = self.ranks
        layers = self.stored(k).view(self.linears, -1)
        first, second, biases = layers.split(
            (sizes.rows * sizes.rank, sizes.numbers - sizes.rows * sizes.rank, DIM), dim=1
        )
        matrices = [
            semi_tensor_product(a.view(sizes.rows, -1), b.view(sizes.rank // sizes.step, -1), sizes.step)
            for a, b in zip(first, second, strict=True)
        ]
        return self.pack(matrices, biases).unsqueeze(0)

    def footprint(self, backbone: Backbone, context: int, path: np.ndarray, units: Tensor | None = None) -> Footprint:
        """That of the plain network, fewer numbers, and the products that build each layer again."""
        plain, run = footprint(backbone, context, path), int(path.sum())
        build = run * self.linears * self.ranks.macs
        saved = backbone.block_size - self.linears * (self.ranks.numbers + DIM)
        return Footprint(plain.macs + build, plain.macs_paper + build, plain.weights - run * saved)
