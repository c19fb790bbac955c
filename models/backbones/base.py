"""What every backbone has: item embeddings, positions, and a stack of residual blocks whose weights are an argument.

Shapes used throughout the package (``D`` devices, ``R`` windows a device, ``n`` items a window, ``d`` = 64):

* windows        ``(D, R, n)`` item ids, left-padded with 0
* states         ``(D, R, n, d)``
* block weights  ``(D, block_size)``, or ``(1, block_size)`` when all devices share them
* keep           ``(D, L)`` in {0, 1}: the path of each device (equation 2 of the paper)

A block's weights carry a leading device axis because every device may run its own: a real device calls the same code
with ``D = 1``, the simulator with many.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.arithmetic import SINGLE, Arithmetic
from models.kernels.dropout import dropout as drop
from models.kernels.dropout import dropout_mask
from models.kernels.linear import SharedLinear

DIM = 64
"""Width of embeddings, latent interests and blocks, as in the paper."""

EMBEDDING_SCALE = 1 / math.sqrt(DIM)
"""Standard deviation of fresh embeddings: times sqrt(d), as they enter the first block, they have unit variance."""

Layers = Callable[[int, Tensor], Tensor]
"""``layers(j, x)`` applies linear layer ``j`` of a block to ``x`` ``(D, R, n, in)``: ``(D, R, n, out)``, each device
with its own weights. For networks that can be applied without ever making their weights."""

BlockWeights = Callable[[int, Tensor | None], Tensor | Layers]
"""``weights(k, rows)`` gives block ``k``'s weights for the devices ``rows`` (``None``: all of them), ``(len(rows),
block_size)``, or ``(1, block_size)`` where devices share them. Called only for blocks and devices that run them."""


class Backbone(nn.Module, ABC):
    """Sequential recommender of ``blocks`` residual blocks whose weights come from outside.

    Only what every device shares is a parameter here: the item embeddings ``(num_items + 1, d)`` (row 0 is padding and
    stays zero), the positions, and what a subclass does not generate.
    """

    block_size: int
    """Weights of one block."""
    linears: int
    """Linear layers (or convolutions) of one block; each has ``d`` output units."""
    inputs: int
    """Numbers that one unit reads: a block has ``linears * d * (inputs + 1)`` weights."""
    shapes: tuple[tuple[int, int], ...]
    """``(in, out)`` of each matrix as it is stored and applied. A block's weights are these, row by row, each followed
    by its bias ``(out,)``."""
    arithmetic: Arithmetic = SINGLE
    """In which precision a device multiplies (:meth:`models.checkpoint.Installed.at`)."""

    def __init__(self, num_items: int, blocks: int, context: int, generator: torch.Generator) -> None:
        super().__init__()
        self.num_items, self.blocks, self.context = num_items, blocks, context
        table = torch.randn(num_items + 1, DIM, generator=generator) * EMBEDDING_SCALE
        table[0] = 0
        self.items = nn.Parameter(table)
        self.positions = nn.Parameter(torch.randn(context, DIM, generator=generator) * EMBEDDING_SCALE)

    # -- what a backbone defines ---------------------------------------------------------------------------------

    @abstractmethod
    def initial_block(self, block: int, generator: torch.Generator) -> Tensor:
        """Fresh weights of one block, ``(block_size,)``."""

    @abstractmethod
    def run_block(self, block: int, x: Tensor, weights: Tensor | Layers, units: Tensor | None = None) -> Tensor:
        """Residual block ``block``: states ``(D, R, n, d)`` to states, with ``weights`` ``(D or 1, block_size)``.

        Subclasses apply them as :meth:`layers`. ``units`` ``(D, R, linears * d)`` is multiplied with the outputs of
        the linear layers, in their order: 0 switches a unit off.
        """

    @abstractmethod
    def pack(self, matrices: list[Tensor], biases: Tensor) -> Tensor:
        """A block's weights ``(block_size,)`` from its linear layers.

        Each matrix holds ``(inputs, d)`` numbers in any shape; ``biases`` ``(linears, d)``.
        """

    def embed(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """States before the first block, ``(D, R, n, d)``, and which of them are of real items, ``(D, R, n, 1)``.

        Items (times sqrt(d), as SASRec does) plus positions; padding is zero.
        """
        real = (windows != 0).unsqueeze(-1)
        x = self.embedded(windows) * math.sqrt(DIM) + self.positions[-windows.shape[-1] :]
        return x * real, real

    def embedded(self, items: Tensor) -> Tensor:
        """Embeddings of items, ``(...)`` to ``(..., d)``."""
        return F.embedding(items, self.items)

    def finish(self, x: Tensor, windows: Tensor) -> Tensor:
        """From the last block's states to the states that score items, at the places of the windows' items."""
        return x

    @abstractmethod
    def block_macs(self, context: int) -> int:
        """Multiply-accumulates of one block on one window of ``context`` items: all that is multiplied."""

    @abstractmethod
    def paper_macs(self, context: int, blocks_run: int) -> int:
        """The paper's count for one inference with ``blocks_run`` blocks (Table 1, printed there as "FLOPs")."""

    @abstractmethod
    def static_block_weights(self) -> int:
        """Weights of one block that are shared instead of generated (NextItNet's LayerNorms)."""

    # -- what they share -----------------------------------------------------------------------------------------

    def initial_blocks(self, generator: torch.Generator) -> list[Tensor]:
        """Fresh weights of all ``L`` blocks, each ``(block_size,)``."""
        return [self.initial_block(k, generator) for k in range(self.blocks)]

    @property
    def sizes(self) -> list[int]:
        """Of each matrix and each bias, in the order of :attr:`shapes`: how many weights it has."""
        return [size for inputs, outputs in self.shapes for size in (inputs * outputs, outputs)]

    def unpack(self, weights: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Flat ``(D, block_size)`` to the matrices ``(D, in, out)`` and biases ``(D, out)``, without copying."""
        parts = weights.split(self.sizes, dim=1)
        return [
            (matrix.unflatten(1, shape), bias)
            for matrix, bias, shape in zip(parts[::2], parts[1::2], self.shapes, strict=True)
        ]

    def fast(self, x: Tensor) -> bool:
        """Whether states ``x`` are of a training, which may round otherwise than a device does."""
        return self.training and self.arithmetic is SINGLE and x.device.type == "cpu"

    def layers(self, weights: Tensor | Layers) -> Layers:
        """The linear layers of a block with these weights."""
        if not isinstance(weights, Tensor):
            return weights
        parts = self.unpack(weights)

        def apply(layer: int, x: Tensor) -> Tensor:
            matrix, bias = parts[layer]
            flat = x.flatten(1, 2)
            if self.arithmetic is not SINGLE:
                return self.arithmetic.product(flat, matrix, bias.unsqueeze(1)).view(*x.shape[:-1], -1)
            if len(matrix) == 1 and self.fast(x):
                out = SharedLinear.apply(flat.flatten(0, 1), matrix[0], bias[0])
            elif len(matrix) == 1:
                out = torch.addmm(bias[0], flat.flatten(0, 1), matrix[0])
            else:
                out = torch.baddbmm(bias.unsqueeze(1), flat, matrix)
            return out.view(*x.shape[:-1], -1)

        return apply

    def encode(
        self,
        windows: Tensor,
        weights: BlockWeights,
        *,
        keep: Tensor | None = None,
        gates: Tensor | None = None,
        units: Tensor | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        """Run each device's own path and return the final states ``(D, R, n, d)``.

        ``keep`` ``(D, L)`` bool says which device runs which block (``None``: everything). A block outside a device's
        path costs nothing: its weights are not asked for, and the device's states are not touched. ``gates`` ``(D, L)``
        is the differentiable form for training, where every block runs and is mixed with its skip (equation 2); not
        both.
        ``units`` ``(D, R, L, linears * d)`` multiplies the outputs of the linear layers, see :meth:`run_block`.
        """
        x, real = self.embed(windows)
        x = drop(x, dropout, self.training)
        for k in range(self.blocks):
            rows = None if keep is None or bool(keep[:, k].all()) else keep[:, k].nonzero().squeeze(1)
            if rows is not None and not len(rows):
                continue
            mine = None if units is None else units[:, :, k]
            before, there = x, real
            if rows is not None:
                before, there, mine = x[rows], real[rows], None if mine is None else mine[rows]
            y = self.run_block(k, before, weights(k, rows), mine)
            if dropout and self.fast(x):
                y = self._mixed(before, y, there, dropout, None if gates is None else gates[:, k])
            else:
                if dropout:
                    y = before + drop(y - before, dropout, self.training)
                if gates is not None:
                    y = torch.lerp(before, y, gates[:, k, None, None, None])
                y = y * there
            x = y if rows is None else x.index_copy(0, rows, y)
        return self.finish(x, windows)

    @staticmethod
    def _mixed(before: Tensor, after: Tensor, real: Tensor, dropout: float, gates: Tensor | None) -> Tensor:
        """The states ``after`` a block that has changed those ``before``, each change dropped out and times the gate
        ``(D,)``; padding, which is zero ``before``, stays so. One operation for all of it."""
        weight = dropout_mask(before, dropout).mul_(real)
        if gates is not None:
            weight = weight * gates[:, None, None, None]
        return torch.lerp(before, after, weight)

    def score(self, states: Tensor) -> Tensor:
        """Scores of all real items, ``(..., d)`` to ``(..., num_items)``; column ``i`` is item ``i + 1``."""
        return self.arithmetic.scores(states, self.items[1:].T)

    def inference_macs(self, context: int, blocks_run: int) -> int:
        """Honest multiply-accumulates of one prediction: the blocks that run, and the scoring of every item."""
        return blocks_run * self.block_macs(context) + self.num_items * DIM
